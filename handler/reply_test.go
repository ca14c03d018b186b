package handler

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// answer is a handler's answer.
type answer struct {
	code   int
	header map[string]string
	body   string
}

func (a answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.code)
	_, _ = io.WriteString(w, a.body)
}

func deliverTo(t *testing.T, a answer) event.Answer {
	t.Helper()
	s, _ := serve(t, a.ServeHTTP)
	return deliver(t, HTTPOptions{URL: s.URL}, attempt("{}"))
}

// binaryEvent returns the headers of a CloudEvent, with more headers.
func binaryEvent(more ...string) map[string]string {
	h := map[string]string{"ce-specversion": "1.0", "ce-id": "r-1", "ce-source": "/a", "ce-type": "RQ_B"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
	}
	return h
}

const (
	structuredType = "application/cloudevents+json"
	batchType      = "application/cloudevents-batch+json"
	oneEvent       = `{"specversion":"1.0","id":"r-1","source":"/a","type":"RQ_B","data":{"n":1}}`
)

func TestFollowUps(t *testing.T) {
	tests := []struct {
		name    string
		header  map[string]string
		body    string
		ids     string
		payload string // of the first
	}{
		{"binary", binaryEvent("Content-Type", "text/plain"), "hello", "r-1", "hello"},
		{"binary without body", binaryEvent(), "", "r-1", ""},
		{"structured", map[string]string{"Content-Type": structuredType}, oneEvent, "r-1", `{"n":1}`},
		{"structured without id", map[string]string{"Content-Type": structuredType}, `{"specversion":"1.0","source":"/a","type":"RQ_B"}`, "", ""},
		{"batch", map[string]string{"Content-Type": batchType}, "[" + oneEvent + "," + strings.Replace(oneEvent, "r-1", "r-2", 1) + "]", "r-1,r-2", `{"n":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := deliverTo(t, answer{200, tt.header, tt.body})
			if got.Outcome != event.Done || got.Detail != "" {
				t.Fatalf("Deliver = %+v; want done", got)
			}
			var ids []string
			for _, m := range got.FollowUps {
				ids = append(ids, m.ID)
				if m.MessageType != "RQ_B" || m.Attributes["source"] != "/a" || m.Problem != "" {
					t.Errorf("follow-up %+v", m)
				}
			}
			if strings.Join(ids, ",") != tt.ids || len(ids) == 0 {
				t.Fatalf("IDs = %q; want %q", ids, tt.ids)
			}
			if p := string(got.FollowUps[0].Payload); p != tt.payload {
				t.Errorf("Payload = %q; want %q", p, tt.payload)
			}
		})
	}
}

func TestFollowUpsKeepOnlyWhatIsAboutThem(t *testing.T) {
	before := time.Now()
	got := deliverTo(t, answer{200, binaryEvent("ce-subject", "s", "X-Powered-By", "p", "X-Request-Id", "r", "Set-Cookie", "c=1",
		"traceparent", "00-1", "Eventd-Delay", "1h", "Correlation-Id", "c-9"), "x"})
	if len(got.FollowUps) != 1 {
		t.Fatalf("Deliver = %+v; want one follow-up", got)
	}
	m := got.FollowUps[0]
	if want := map[string]string{"Traceparent": "00-1"}; !maps.Equal(m.Headers, want) {
		t.Errorf("Headers = %v; want %v", m.Headers, want)
	}
	if m.Attributes["subject"] != "s" || m.CorrelationID != "c-9" || m.DeliverAt.Before(before.Add(time.Hour)) {
		t.Errorf("follow-up %+v", m)
	}
}

func TestAnswersThatAreNoFollowUps(t *testing.T) {
	for name, a := range map[string]answer{
		"accepted":     {202, binaryEvent(), "x"},
		"created":      {201, map[string]string{"Content-Type": structuredType}, oneEvent},
		"plain JSON":   {200, map[string]string{"Content-Type": "application/json"}, `{"message_type":"RQ_B"}`},
		"an extension": {200, map[string]string{"ce-ext": "1"}, "x"},
		"no content":   {204, binaryEvent(), ""},
	} {
		got := deliverTo(t, a)
		if got.Outcome != event.Done || len(got.FollowUps) != 0 || got.Detail != a.body {
			t.Errorf("%s: Deliver = %+v; want done, no follow-ups, the body as detail", name, got)
		}
	}
	if got := deliverTo(t, answer{503, binaryEvent(), "x"}); got.Reason != "http_503" || len(got.FollowUps) != 0 {
		t.Errorf("503: Deliver = %+v; want no follow-ups", got)
	}
}

func TestBadReplies(t *testing.T) {
	many := "[" + strings.Repeat(oneEvent+",", MaxFollowUps) + oneEvent + "]"
	large := strings.Repeat("x", MaxReply+1)
	for _, tt := range []struct {
		name   string
		answer answer
		detail string
	}{
		{"not JSON", answer{200, map[string]string{"Content-Type": structuredType}, "hello"}, "malformed event: the body of the CloudEvent is not valid JSON"},
		{"no type", answer{200, map[string]string{"ce-id": "1", "ce-specversion": "1.0", "ce-source": "/a"}, ""}, "malformed event: CloudEvents attribute type is missing"},
		{"one of many", answer{200, map[string]string{"Content-Type": batchType}, "[" + oneEvent + ",5]"}, "malformed event: events[1]: the CloudEvent is no JSON object"},
		{"control character", answer{200, binaryEvent("ce-id", "a%0Ab"), ""}, `malformed event: event_id holds a control character: "a\nb"`},
		{"too many", answer{200, map[string]string{"Content-Type": batchType}, many}, "too many events: at most 1000 are taken at once"},
		{"too large", answer{200, binaryEvent("Content-Type", "text/plain"), large}, "the follow-up events have more than 1048576 bytes"},
		{"compressed", answer{200, binaryEvent("Content-Encoding", "gzip"), "x"}, `the follow-up events come with Content-Encoding "gzip", which was not asked for`},
	} {
		got := deliverTo(t, tt.answer)
		if got.Outcome != event.Never || got.Reason != event.BadReply || got.Code != 200 || got.Detail != tt.detail || len(got.FollowUps) != 0 {
			t.Errorf("%s: Deliver = %+v; want bad_reply: %s", tt.name, got, tt.detail)
		}
	}
}

func TestAsManyFollowUpsAsAllowed(t *testing.T) {
	got := deliverTo(t, answer{200, map[string]string{"Content-Type": batchType}, "[" + strings.Repeat(oneEvent+",", MaxFollowUps-1) + oneEvent + "]"})
	if got.Outcome != event.Done || len(got.FollowUps) != MaxFollowUps {
		t.Errorf("outcome %d (%s), %d follow-ups; want %d", got.Outcome, got.Detail, len(got.FollowUps), MaxFollowUps)
	}
	got = deliverTo(t, answer{200, binaryEvent("Content-Type", "text/plain"), strings.Repeat("x", MaxReply)})
	if got.Outcome != event.Done || len(got.FollowUps) != 1 || len(got.FollowUps[0].Payload) != MaxReply {
		t.Errorf("outcome %d (%s), %d follow-ups; want one with %d bytes", got.Outcome, got.Detail, len(got.FollowUps), MaxReply)
	}
}

func TestDetail(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"text", "no such\taccount\r\nsorry\n", "no such\taccount\nsorry\n"},
		{"terminal codes", "a\x1b[31mb\x00c\u0085d\u202ee", "a\uFFFD[31mb\uFFFDc\uFFFDd\uFFFDe"},
		{"no text", "\xff\xfea", "\uFFFDa"},
		{"long", strings.Repeat("x", 3*event.MaxDetail), strings.Repeat("x", event.MaxDetail)},
		{"long of wide letters", strings.Repeat("€", event.MaxDetail), strings.Repeat("€", event.MaxDetail/3) + ""},
		{"over the limit of a reply", strings.Repeat("x", MaxReply+100), strings.Repeat("x", event.MaxDetail)},
	} {
		for _, code := range []int{200, 500, 400} {
			got := deliverTo(t, answer{code, map[string]string{"Content-Type": "text/plain"}, tt.body}).Detail
			if !strings.HasPrefix(got, tt.want) || len(got)-len(tt.want) > 3 || len(got) > event.MaxDetail || !utf8.ValidString(got) {
				t.Errorf("%s, %d: Detail = %.40q… of %d bytes; want %.40q… of %d", tt.name, code, got, len(got), tt.want, len(tt.want))
			}
		}
	}
}

func TestEndlessBodyEnds(t *testing.T) {
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
				return
			}
		}
	})
	got := deliver(t, HTTPOptions{URL: s.URL}, attempt("{}"))
	if got.Outcome != event.Done || len(got.Detail) != event.MaxDetail {
		t.Errorf("outcome %d, detail of %d bytes; want done and %d", got.Outcome, len(got.Detail), event.MaxDetail)
	}
}

func FuzzDetail(f *testing.F) {
	f.Add([]byte("a\x1bb\xff€"))
	f.Add([]byte(strings.Repeat("\x00", event.MaxDetail)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := detailOf(b)
		if len(got) > event.MaxDetail || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\r\x7f\u0085\u202e") {
			t.Errorf("detailOf(%q) = %q", b, got)
		}
	})
}

func BenchmarkDeliver(b *testing.B) {
	s := newScripted(b, func(x *exchange) { x.say(fine) })
	h := newHTTP(b, HTTPOptions{URL: s.url()})
	a := attempt(fmt.Sprintf(`{"note":"%s"}`, strings.Repeat("x", 1000)))
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got := h.Deliver(b.Context(), a); got.Outcome != event.Done {
				b.Fatalf("Deliver = %+v", got)
			}
		}
	})
}

func BenchmarkRequestHead(b *testing.B) {
	h := newHTTP(b, HTTPOptions{URL: "http://127.0.0.1:1/events", Headers: map[string]string{"Authorization": "Bearer x"}})
	a := attempt(fmt.Sprintf(`{"note":"%s"}`, strings.Repeat("x", 1000)))
	var fields envelope.Fields
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		fields, _ = envelope.Encode(fields, a, envelope.Binary, "")
		buffer = h.head(buffer[:0], fields, len(a.Payload))
	}
}
