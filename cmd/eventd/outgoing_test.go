package main

import (
	"strings"
	"testing"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// decoded returns the event that the daemon makes of what is sent.
func decoded(t *testing.T, o *outgoing, payload string) event.Message {
	t.Helper()
	header, body, err := o.request([]byte(payload))
	if err != nil {
		t.Fatalf("request(%q): %v", payload, err)
	}
	msgs, err := envelope.DecodeRequest(header, body, envelope.Origin{Table: event.Request}, 10)
	if err != nil || len(msgs) != 1 {
		t.Fatalf("the daemon reads %d events of %q: %v", len(msgs), payload, err)
	}
	return msgs[0]
}

func TestPayloadArrivesAsItIs(t *testing.T) {
	for _, c := range []struct{ payload, contentType, arrives string }{
		{``, "", ""},
		{`{"b": 1.50, "a": "<&> \u00e9 é"}`, "", "application/json"},
		{`"text"`, "", "application/json"},
		{`12`, "", "application/json"},
		{`null`, "", "application/json"},
		{"{\n  \"x\": [1,\n 2]\n}", "application/vnd.x+json; v=1", "application/vnd.x+json; v=1"},
		{"hello\nwörld\t\"quoted\" \\ \x01", "", "text/plain; charset=utf-8"},
		{`{"not": json}`, "text/plain", "text/plain"},
		{`{"json": "as text"}`, "text/plain", "text/plain"},
		{"<a/>", "application/xml", "application/xml"},
		{"\x89PNG\r\n\x1a\n\x00\xff", "", "application/octet-stream"},
		{"\x89PNG\r\n\x1a\n\x00\xff", "image/png", "image/png"},
		{"\xef\xbb\xbf{}", "", "text/plain; charset=utf-8"},
	} {
		o := &outgoing{messageType: "TYPE é", id: "id %41 \"q\" ü", contentType: c.contentType}
		o.correlation, o.causation = "corr", "cause"
		m := decoded(t, o, c.payload)
		if string(m.Payload) != c.payload || m.ContentType != c.arrives {
			t.Errorf("%q arrives as %q, %q; want %q", c.payload, m.Payload, m.ContentType, c.arrives)
		}
		if m.ID != o.id || m.MessageType != o.messageType || m.CorrelationID != "corr" || m.CausationID != "cause" {
			t.Errorf("%q arrives as %q %q %q %q", c.payload, m.ID, m.MessageType, m.CorrelationID, m.CausationID)
		}
	}
}

func TestPayloadRefused(t *testing.T) {
	for _, c := range []struct{ payload, contentType, want string }{
		{`{"amount": 10`, "", "looks like JSON but is not"},
		{`{amount: 10}`, "application/json", "the payload is not JSON"},
	} {
		o := &outgoing{messageType: "T", contentType: c.contentType}
		if _, _, err := o.request([]byte(c.payload)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("request(%q): %v; want %q", c.payload, err, c.want)
		}
	}
}

func TestHeadersGoAlong(t *testing.T) {
	o := &outgoing{messageType: "T"}
	for _, h := range []string{"Region: eu", "x-a:b:c", "Eventd-Delay: 1h"} {
		if err := o.headers.Set(h); err != nil {
			t.Fatal(err)
		}
	}
	m := decoded(t, o, "{}")
	if m.Headers["Region"] != "eu" || m.Headers["X-A"] != "b:c" || m.DeliverAt.IsZero() {
		t.Errorf("headers %v, deliver at %v", m.Headers, m.DeliverAt)
	}
	for _, h := range []string{"Region", ": x", ""} {
		if o.headers.Set(h) == nil {
			t.Errorf("the header %q is taken", h)
		}
	}
}
