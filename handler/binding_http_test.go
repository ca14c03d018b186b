package handler

import (
	"io"
	"net/http"
	"testing"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// Rules of the HTTP protocol binding 1.0.2 that concern what goes over the wire;
// the others are tested with the envelope.

func TestHTTPBinding3_1_BinaryRequest(t *testing.T) {
	s, last := serve(t, nil)
	deliver(t, HTTPOptions{URL: s.URL, Source: "/e"}, &event.Attempt{Event: cloudEvent(), Payload: []byte(`{"a":1}`), Number: 1})
	r := last.Load()
	want := map[string]string{
		"ce-specversion": "1.0", "ce-id": "1234", "ce-type": "com.example.someevent", "ce-source": "/mycontext/subcontext", "ce-myext": "5",
		"ce-time": "2018-04-05T03:56:24Z", "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80", "Content-Type": "application/json; charset=utf-8",
		"ce-datacontenttype": "",
	}
	for name, value := range want {
		if got := r.Header.Get(name); got != value {
			t.Errorf("%s: %s; want %s", name, got, value)
		}
	}
	if r.body != `{"a":1}` || r.Method != http.MethodPost {
		t.Errorf("%s %q", r.Method, r.body)
	}
}

func TestHTTPBinding3_2_StructuredRequest(t *testing.T) {
	s, last := serve(t, nil)
	deliver(t, HTTPOptions{URL: s.URL, Format: envelope.Structured}, &event.Attempt{Event: cloudEvent(), Payload: []byte(`{"a":1}`), Number: 1})
	r := last.Load()
	const want = `{"datacontenttype":"application/json; charset=utf-8","id":"1234","myext":5,"source":"/mycontext/subcontext",` +
		`"specversion":"1.0","subject":"Euro € 😀","time":"2018-04-05T03:56:24Z","type":"com.example.someevent","data":{"a":1}}`
	if r.body != want || r.Header.Get("Content-Type") != "application/cloudevents+json" {
		t.Errorf("%s\n%s; want\n%s", r.Header.Get("Content-Type"), r.body, want)
	}
}

// TestHTTPBinding3_Responses: an answer has events in each of the modes, as a
// request has.
func TestHTTPBinding3_Responses(t *testing.T) {
	const one = `{"specversion":"1.0","id":"1","source":"/a","type":"T"}`
	for name, c := range map[string]struct {
		header map[string]string
		body   string
		want   int
	}{
		"binary":     {map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "T", "ce-subject": "a%20b"}, "x", 1},
		"structured": {map[string]string{"Content-Type": "application/cloudevents+json; charset=UTF-8"}, one, 1},
		"batch":      {map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[" + one + "," + one + "]", 2},
		"empty":      {map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[]", 0},
	} {
		s, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			for name, value := range c.header {
				w.Header().Set(name, value)
			}
			_, _ = io.WriteString(w, c.body)
		})
		a := deliver(t, HTTPOptions{URL: s.URL}, attempt("{}"))
		if a.Outcome != event.Done || len(a.FollowUps) != c.want {
			t.Errorf("%s: %+v; want %d events", name, a, c.want)
		}
	}
}
