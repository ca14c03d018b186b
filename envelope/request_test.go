package envelope

import (
	"errors"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
)

func TestDecodeRequest(t *testing.T) {
	asPlain := headerOf("Content-Type", "application/json; charset=utf-8")
	type want struct{ id, messageType, contentType, payload string }
	tests := []struct {
		name   string
		header header
		body   string
		want   []want
	}{
		{"plain", asPlain, `{"message_type":"T","event_id":"1","payload": {"a" : 1} }`, []want{{"1", "T", "application/json", `{"a" : 1}`}}},
		{"no content type", nil, `{"message_type":"T"}`, []want{{"", "T", "", ""}}},
		{"plain null payload", asPlain, `{"message_type":"T","payload":null}`, []want{{"", "T", "application/json", "null"}}},
		{"plain string is JSON", asPlain, `{"message_type":"T","payload":"a"}`, []want{{"", "T", "application/json", `"a"`}}},
		{"plain text", asPlain, `{"message_type":"T","payload":"a\nb","content_type":"text/plain"}`, []want{{"", "T", "text/plain", "a\nb"}}},
		{"plain other JSON", asPlain, `{"message_type":"T","payload":"a","content_type":"application/x+json"}`, []want{{"", "T", "application/x+json", `"a"`}}},
		{"plain array", asPlain, ` [{"message_type":"T","payload":[1]},{"event_id":"2","message_type":"U","payload":2}]`,
			[]want{{"", "T", "application/json", "[1]"}, {"2", "U", "application/json", "2"}}},
		{"empty array", asPlain, `[]`, nil},
		{"binary", binaryHeader("Content-Type", "application/json"), `{"x":1}`, []want{{"i1", "T", "application/json", `{"x":1}`}}},
		{"binary without id", headerOf("ce-specversion", "1.0", "ce-type", "T", "ce-source", "/a"), "", []want{{"", "T", "", ""}}},
		{"structured without id", headerOf("Content-Type", "application/cloudevents+json"), `{"specversion":"1.0","type":"T","source":"/a","data":1}`,
			[]want{{"", "T", "application/json", "1"}}},
		{"batch", headerOf("Content-Type", "application/cloudevents-batch+json"),
			` [ {"specversion":"1.0","id":"1","type":"T","source":"/a","data": {"n":1}}, {"specversion":"1.0","id":"2","type":"U","source":"/a","data_base64":"AA=="}]`,
			[]want{{"1", "T", "application/json", `{"n":1}`}, {"2", "U", "", "\x00"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			msgs, err := DecodeRequest(tt.header, []byte(tt.body), Origin{Table: event.Request, At: received}, 10)
			if err != nil || len(msgs) != len(tt.want) {
				t.Fatalf("DecodeRequest = %d events, %v; want %d", len(msgs), err, len(tt.want))
			}
			for i, m := range msgs {
				if got := (want{m.ID, m.MessageType, m.ContentType, string(m.Payload)}); got != tt.want[i] {
					t.Errorf("events[%d] = %q; want %q", i, got, tt.want[i])
				}
				if m.Table != event.Request || m.CreatedAt != received {
					t.Errorf("events[%d] has Table, CreatedAt %v, %v", i, m.Table, m.CreatedAt)
				}
			}
		})
	}
}

func TestDecodeRequestFields(t *testing.T) {
	msgs, err := DecodeRequest(headerOf("Content-Type", "application/json", "Eventd-Delay", "1s", "Correlation-Id", "from header"), []byte(
		`{"message_type":"T","correlation_id":"c","causation_id":"p","source_service":"S","target_service":"G","topic":"a.*.>"}`),
		Origin{SourceService: "other", CreatedBy: "by", At: received}, 1)
	if err != nil {
		t.Fatal(err)
	}
	m := msgs[0]
	got := []string{m.CorrelationID, m.CausationID, m.SourceService, m.TargetService, m.Topic, m.CreatedBy, m.DeliverAt.Sub(received).String()}
	if want := "c p S G a.*.> by 1s"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestDecodeRequestErrors(t *testing.T) {
	asPlain := headerOf("Content-Type", "application/json")
	asBatch := headerOf("Content-Type", "application/cloudevents-batch+json")
	tests := []struct {
		name   string
		header header
		body   string
		is     error
		want   string
	}{
		{"empty", nil, "", ErrMalformed, "malformed event: the body is not valid JSON"},
		{"a form", headerOf("Content-Type", "application/x-www-form-urlencoded"), "a=b", ErrMalformed,
			`malformed event: it is no CloudEvent, and its Content-Type is "application/x-www-form-urlencoded" and not application/json`},
		{"number", asPlain, "5", ErrMalformed, "malformed event: it is no JSON object"},
		{"misspelt", asPlain, `{"mesage_type":"T"}`, ErrMalformed, `malformed event: unknown key "mesage_type" (did you mean "message_type"?)`},
		{"data beside", asPlain, `{"message_type":"T","amount":5}`, ErrMalformed, `malformed event: unknown key "amount": the data of the event belongs into payload, ` +
			"the other keys are message_type, event_id, payload, content_type, correlation_id, causation_id, source_service, target_service, topic"},
		{"no type", asPlain, `{"event_id":"1"}`, ErrMalformed, "malformed event: message_type is missing"},
		{"empty id", asPlain, `{"message_type":"T","event_id":""}`, ErrMalformed, "malformed event: event_id is empty"},
		{"id a number", asPlain, `{"message_type":"T","event_id":5}`, ErrMalformed, `malformed event: event_id is no string: "5"`},
		{"object as text", asPlain, `{"message_type":"T","payload":{},"content_type":"text/plain"}`, ErrMalformed,
			`malformed event: the data is no string, though its content type is "text/plain"`},
		{"one of an array", asPlain, `[{"message_type":"T"},{"message_type":"T","event_id":"\u0000"}]`, ErrMalformed,
			`malformed event: events[1]: event_id holds a control character: "\x00"`},
		{"too many", asPlain, `[{"message_type":"T"},{"message_type":"T"},{"message_type":"T"}]`, ErrTooMany, "too many events: at most 2 are taken at once"},
		{"batch too many", asBatch, `[{"specversion":"1.0","type":"T","source":"/"},{"specversion":"1.0","type":"T","source":"/"},1]`, ErrTooMany,
			"too many events: at most 2 are taken at once"},
		{"batch no array", asBatch, `{}`, ErrMalformed, "malformed event: the batch is no JSON array"},
		{"batch no JSON", asBatch, `[`, ErrMalformed, "malformed event: the body is not valid JSON"},
		{"one of a batch", asBatch, `[{"specversion":"1.0","type":"T","source":"/"},{"specversion":"1.0","type":"T"}]`, ErrMalformed,
			"malformed event: events[1]: CloudEvents attribute source is missing"},
		{"binary without type", headerOf("ce-id", "1", "Content-Type", "application/json"), `{"message_type":"T"}`, ErrMalformed,
			"malformed event: CloudEvents attribute specversion is missing"},
		{"other format", headerOf("Content-Type", "application/cloudevents-batch+xml"), "", ErrMalformed,
			`malformed event: CloudEvents come as JSON, "application/cloudevents-batch+xml" is not supported`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			msgs, err := DecodeRequest(tt.header, []byte(tt.body), Origin{}, 2)
			if !errors.Is(err, tt.is) || msgs != nil || err.Error() != tt.want {
				t.Errorf("DecodeRequest = %v, %v; want %v", msgs, err, tt.want)
			}
		})
	}
}

func TestIsCloudEvent(t *testing.T) {
	for _, tt := range []struct {
		header header
		want   bool
	}{
		{headerOf("Content-Type", "application/json"), false},
		{headerOf("Content-Type", "application/json", "ce-ext", "x"), false},
		{headerOf("Content-Type", "Application/CloudEvents+JSON"), true},
		{headerOf("Content-Type", "application/cloudevents-batch+json"), true},
		{headerOf("Content-Type", "application/cloudevents+avro"), true},
		{headerOf("Ce-Type", "T"), true},
		{headerOf("Ce-Id", "1"), true},
	} {
		if got := IsCloudEvent(tt.header); got != tt.want {
			t.Errorf("IsCloudEvent(%v) = %t; want %t", tt.header, got, tt.want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add("application/json", "", []byte(`[{"message_type":"T","payload":{"a":1}}]`))
	f.Add("application/cloudevents-batch+json", "T", []byte(`[{"specversion":"1.0","id":"1","source":"s","type":"t","data":[]}]`))
	f.Add("text/plain", "T", []byte("x"))
	f.Fuzz(func(t *testing.T, contentType, ceType string, body []byte) {
		h := headerOf("Content-Type", contentType)
		if ceType != "" {
			h = binaryHeader("Content-Type", contentType, "ce-type", ceType)
		}
		msgs, err := DecodeRequest(h, body, origin(), 5)
		if err != nil && (len(msgs) > 0 || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooMany)) {
			t.Fatalf("DecodeRequest = %d events, %v", len(msgs), err)
		}
		if len(msgs) > 5 {
			t.Fatalf("%d events, more than the 5 allowed", len(msgs))
		}
		for _, m := range msgs {
			if m.ID == "" {
				m.ID = "given by the receiver"
			}
			checkDecoded(t, m, body)
		}
	})
}
