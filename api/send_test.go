package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func TestSendPlainJSON(t *testing.T) {
	f := newFake()
	w := postJSON(serve(f), "/v1/events",
		`{"message_type":"RQ_A_INIT","event_id":"e1","source_service":"SERVICE_B","payload":{"n":1}}`)
	got := want[wire.Accepted](t, w, http.StatusAccepted)
	if len(got.Events) != 1 || got.Events[0] != (wire.Receipt{Table: "request", EventID: "e1"}) {
		t.Errorf("receipts = %+v; want e1 in request, not a duplicate", got.Events)
	}
	m := f.accepted[0]
	if m.Table != event.Request || m.MessageType != "RQ_A_INIT" || string(m.Payload) != `{"n":1}` {
		t.Errorf("accepted %+v", m)
	}
	if m.CreatedBy != "SERVICE_B" || m.CreatedAt.IsZero() || m.CreatedAt.Location() != time.UTC {
		t.Errorf("created by %q at %v; want SERVICE_B, now, in UTC", m.CreatedBy, m.CreatedAt)
	}
}

func TestSendAgainIsADuplicate(t *testing.T) {
	h := serve(newFake())
	for _, duplicate := range []bool{false, true} {
		got := want[wire.Accepted](t, postJSON(h, "/v1/events", `{"message_type":"X","event_id":"e1"}`), 202)
		if got.Events[0].Duplicate != duplicate {
			t.Errorf("duplicate = %v; want %v", got.Events[0].Duplicate, duplicate)
		}
	}
}

func TestSendGivesAnID(t *testing.T) {
	w := postJSON(serve(newFake()), "/v1/events", `{"message_type":"X"}`)
	got := want[wire.Accepted](t, w, http.StatusAccepted)
	if id, err := uuid.Parse(got.Events[0].EventID); err != nil || id.Version() != 7 {
		t.Errorf("event_id = %q; want a UUIDv7", got.Events[0].EventID)
	}
}

func TestSendCreatedBy(t *testing.T) {
	for _, c := range []struct{ name, body, header, want string }{
		{"the message says it", `{"message_type":"X","source_service":"SAYS"}`, "HEADER", "SAYS"},
		{"the header says it", `{"message_type":"X"}`, "HEADER", "HEADER"},
		{"nobody says it", `{"message_type":"X"}`, "", "SERVICE_A"},
	} {
		f := newFake()
		ask(serve(f), "POST", "/v1/events", c.body, "Content-Type", "application/json", "Eventd-Service", c.header)
		if len(f.accepted) != 1 || f.accepted[0].CreatedBy != c.want {
			t.Errorf("%s: accepted %+v; want created by %s", c.name, f.accepted, c.want)
		}
	}
}

func TestSendCloudEvents(t *testing.T) {
	const one = `{"specversion":"1.0","id":"%s","source":"/b","type":"RQ_B_STP","data":{"n":1}}`
	for _, c := range []struct {
		name, body string
		header     []string
		want       int
	}{
		{"binary", "\x00\x01", []string{"ce-specversion", "1.0", "ce-id", "e1", "ce-source", "/b", "ce-type", "RQ_B_STP", "Content-Type", "application/octet-stream"}, 1},
		{"structured", fmt.Sprintf(one, "e1"), []string{"Content-Type", "application/cloudevents+json; charset=utf-8"}, 1},
		{"batch", "[" + fmt.Sprintf(one, "e1") + "," + fmt.Sprintf(one, "e2") + "]", []string{"Content-Type", "application/cloudevents-batch+json"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			got := want[wire.Accepted](t, ask(serve(f), "POST", "/v1/events", c.body, c.header...), 202)
			if len(got.Events) != c.want || got.Events[0].EventID != "e1" {
				t.Fatalf("receipts = %+v; want %d, e1 first", got.Events, c.want)
			}
			if m := f.accepted[0]; m.MessageType != "RQ_B_STP" || m.Table != event.Request {
				t.Errorf("accepted %+v", m)
			}
		})
	}
}

func TestSendRefuses(t *testing.T) {
	ok := `{"message_type":"X","event_id":"e1"}`
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
	}{
		{"nothing", "", nil, 400},
		{"broken JSON", `{"message_type":`, []string{"Content-Type", "application/json"}, 400},
		{"no type", `{"event_id":"e1"}`, []string{"Content-Type", "application/json"}, 400},
		{"compressed", ok, []string{"Content-Encoding", "gzip"}, 415},
		{"a service name without end", ok, []string{"Eventd-Service", strings.Repeat("x", 257)}, 422},
		{"a service name that is no text", ok, []string{"Eventd-Service", "\xff\xfe"}, 422},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			wantProblem(t, ask(serve(f), "POST", "/v1/events", c.body, c.header...), c.status, "")
			if len(f.accepted) != 0 {
				t.Errorf("accepted %+v; want nothing", f.accepted)
			}
		})
	}
}

func TestSendTooMany(t *testing.T) {
	f := newFake()
	o := options(f)
	o.MaxEvents = 1
	batch := `[{"specversion":"1.0","id":"1","source":"/b","type":"X"},{"specversion":"1.0","id":"2","source":"/b","type":"X"}]`
	w := ask(api.New(o), "POST", "/v1/events", batch, "Content-Type", "application/cloudevents-batch+json")
	wantProblem(t, w, http.StatusRequestEntityTooLarge, "")
	if len(f.accepted) != 0 {
		t.Errorf("accepted %+v; want all or none", f.accepted)
	}
}

func TestSendWhenNotStored(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("accept: %w", event.ErrUnavailable), 503},
		{errDisk, 500},
	} {
		f := newFake()
		f.err = c.err
		w := postJSON(serve(f), "/v1/events", `{"message_type":"X"}`)
		wantProblem(t, w, c.status, c.err.Error())
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 503) {
			t.Errorf("%d: Retry-After = %q", c.status, retry)
		}
	}
}

// hidden is a body whose length is not known beforehand.
type hidden struct{ io.Reader }

func TestSendTooLarge(t *testing.T) {
	const limit = 1000
	for _, c := range []struct {
		name   string
		size   int
		hide   bool
		status int
	}{
		{"just fits", limit, false, 202},
		{"just fits, length unknown", limit, true, 202},
		{"one more", limit + 1, false, 413},
		{"one more, length unknown", limit + 1, true, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			o := options(f)
			o.MaxBody = limit
			frame := `{"message_type":"X","payload":""}`
			text := strings.Replace(frame, `""`, `"`+strings.Repeat("x", c.size-len(frame))+`"`, 1)
			var body io.Reader = strings.NewReader(text)
			if c.hide {
				body = hidden{body}
			}
			r := httptest.NewRequest("POST", "/v1/events", body)
			r.Host = "localhost"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			api.New(o).ServeHTTP(w, r)
			if w.Code != c.status {
				t.Fatalf("status = %d; want %d: %s", w.Code, c.status, w.Body)
			}
			if c.status == 413 {
				wantProblem(t, w, 413, "1000 bytes")
			}
		})
	}
}

// unread fails the test when anyone reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestTooLargeIsRefusedUnread(t *testing.T) {
	r := httptest.NewRequest("POST", "/v1/events", unread{t})
	r.Host = "localhost"
	r.ContentLength = 9 << 20
	w := httptest.NewRecorder()
	serve(newFake()).ServeHTTP(w, r)
	wantProblem(t, w, 413, "8388608 bytes")
}

// stalled is a body that does not end before it is let go.
type stalled struct {
	reached chan<- struct{}
	let     <-chan struct{}
	once    *sync.Once
}

func (s stalled) Read([]byte) (int, error) {
	s.once.Do(func() { s.reached <- struct{}{} })
	<-s.let
	return 0, io.EOF
}

func TestMemoryForBodiesIsBounded(t *testing.T) {
	h := serve(newFake())
	reached, let := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			r := httptest.NewRequest("POST", "/v1/events", stalled{reached, let, new(sync.Once)})
			r.Host, r.ContentLength = "localhost", -1
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
		<-reached
	}
	w := postJSON(h, "/v1/events", `{"message_type":"X"}`)
	close(let)
	all.Wait()
	wantProblem(t, w, 503, "too many large bodies")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	want[wire.Accepted](t, postJSON(h, "/v1/events", `{"message_type":"X"}`), 202)
}

func TestCredentialsAreNotStored(t *testing.T) {
	f := newFake()
	o := options(f)
	o.Token = func() (string, error) { return "s3cret", nil }
	w := ask(api.New(o), "POST", "/v1/events", "x", "Authorization", "Bearer s3cret", "Cookie", "sid=s3cret",
		"Proxy-Authorization", "Basic s3cret", "X-Api-Key", "s3cret",
		"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/b", "ce-type", "X", "Traceparent", "00-1-2-01")
	want[wire.Accepted](t, w, 202)
	m := f.accepted[0]
	for name, value := range m.Headers {
		if strings.Contains(value, "s3cret") {
			t.Errorf("header %s is stored with the event", name)
		}
	}
	for name, value := range m.Attributes {
		if strings.Contains(value, "s3cret") {
			t.Errorf("attribute %s is stored with the event", name)
		}
	}
}

func TestBodyIsTheEventsOwn(t *testing.T) {
	f := newFake()
	h := serve(f)
	for i := range 3 {
		ask(h, "POST", "/v1/events", strings.Repeat(fmt.Sprint(i), 100), "ce-specversion", "1.0",
			"ce-id", fmt.Sprint(i), "ce-source", "/b", "ce-type", "X")
	}
	for i, m := range f.accepted {
		if want := bytes.Repeat([]byte(fmt.Sprint(i)), 100); !bytes.Equal(m.Payload, want) {
			t.Errorf("payload %d = %.20s…; want %.20s…", i, m.Payload, want)
		}
	}
	if len(f.accepted) != 3 {
		t.Errorf("%d events accepted; want 3", len(f.accepted))
	}
}
