package handler

import (
	"strings"
	"testing"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/webhook"
)

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newSecret = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
)

func testSigner(t *testing.T) Signer {
	t.Helper()
	s, err := webhook.NewSigner(oldSecret, newSecret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verifyBoth: who has either secret can verify a message.
func verifyBoth(t *testing.T, header map[string][]string, body string) {
	t.Helper()
	for _, secret := range []string{oldSecret, newSecret} {
		if err := webhook.Verify(header, []byte(body), []string{secret}, 0); err != nil {
			t.Errorf("%s…: %v; headers %v", secret[:6], err, header)
		}
		if err := webhook.Verify(header, []byte(body+" "), []string{secret}, 0); err == nil {
			t.Errorf("%s…: another body is taken", secret[:6])
		}
	}
}

func TestSignedRequests(t *testing.T) {
	s, last := serve(t, nil)
	for _, f := range []envelope.Format{envelope.Binary, envelope.Structured, envelope.Raw} {
		a := attempt(`{"a": 1}`)
		if got := deliver(t, HTTPOptions{URL: s.URL, Signer: testSigner(t), Format: f}, a); got.Outcome != event.Done {
			t.Fatalf("Deliver = %+v; want done", got)
		}
		r := last.Load()
		verifyBoth(t, r.Header, r.body)
		if got := r.Header.Get("Webhook-Id"); got != "e-1" {
			t.Errorf("webhook-id = %q; want the event id", got)
		}
	}
}

func TestSignedLargeRequest(t *testing.T) {
	s, last := serve(t, nil)
	payload := strings.Repeat("x", 3*together)
	deliver(t, HTTPOptions{URL: s.URL, Signer: testSigner(t)}, attempt(payload))
	verifyBoth(t, last.Load().Header, payload)
}

// TestSignedAgain: over a connection that is kept, each attempt is signed anew.
func TestSignedAgain(t *testing.T) {
	s, last := serve(t, nil)
	h := newHTTP(t, HTTPOptions{URL: s.URL, Signer: testSigner(t)})
	for _, payload := range []string{"1", "2", "3"} {
		h.Deliver(t.Context(), attempt(payload))
		verifyBoth(t, last.Load().Header, payload)
	}
}

func TestUnsignedRequestHasNoSignature(t *testing.T) {
	s, last := serve(t, nil)
	deliver(t, HTTPOptions{URL: s.URL}, attempt("{}"))
	for _, name := range []string{"Webhook-Signature", "Webhook-Timestamp"} {
		if v := last.Load().Header.Get(name); v != "" {
			t.Errorf("%s: %s; want none", name, v)
		}
	}
}

func TestSignedMessages(t *testing.T) {
	check := func(p event.Publication) {
		t.Helper()
		header := map[string][]string{}
		for name, value := range p.Header {
			header[name] = []string{value}
		}
		verifyBoth(t, header, string(p.Body))
	}
	r := &requester{}
	n, err := NewNATS(NATSOptions{Subject: "a", Signer: testSigner(t)}, r)
	if err != nil {
		t.Fatal(err)
	}
	n.Deliver(t.Context(), attempt("{}"))
	check(r.request)

	p := &publisher{}
	topic := newTopic(t, TopicOptions{Subject: "A", Signer: testSigner(t), Format: envelope.Structured}, p)
	topic.Deliver(t.Context(), attempt("{}"))
	check(p.published[0])
	if got := p.published[0].Header["Nats-Msg-Id"]; got == "" {
		t.Error("no Nats-Msg-Id")
	}
}

// TestSignedIDs: there is no dot in what is signed, and ids that differ do so.
func TestSignedIDs(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "a.b", "a%2Eb", "a%252Eb", "a b", "a%20b", "%", ".", "ü.1", "ü%2E1"} {
		got := signedID(id)
		if strings.Contains(got, ".") || seen[got] != "" {
			t.Errorf("signedID(%q) = %q; want no dot, and another than for %q", id, got, seen[got])
		}
		seen[got] = id
	}
	if got := signedID("evt_1-x"); got != "evt_1-x" {
		t.Errorf("signedID(evt_1-x) = %s; want it as it is", got)
	}
	s, last := serve(t, nil)
	a := attempt("{}")
	a.Event.ID = "order.7"
	deliver(t, HTTPOptions{URL: s.URL, Signer: testSigner(t)}, a)
	verifyBoth(t, last.Load().Header, "{}")
	if got := last.Load().Header.Get("Ce-Id"); got != "order.7" {
		t.Errorf("ce-id = %s; want order.7", got)
	}
}
