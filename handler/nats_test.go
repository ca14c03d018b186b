package handler

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// requester keeps the last request and answers it.
type requester struct {
	request event.Publication
	header  map[string][]string
	body    string
	err     error
	hang    bool
}

func (r *requester) Request(ctx context.Context, m *event.NATSMessage) (map[string][]string, []byte, error) {
	r.request = sent(m)
	if r.hang {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	return r.header, []byte(r.body), r.err
}

func newNATS(t *testing.T, r Requester) *NATS {
	t.Helper()
	n, err := NewNATS(NATSOptions{Subject: "ledger.post", Timeout: 2 * time.Second, Source: "/eventd/A", Headers: map[string]string{"X-Fixed": "1"}}, r)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func reply(pairs ...string) map[string][]string {
	h := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = []string{pairs[i+1]}
	}
	return h
}

func TestNATSRequest(t *testing.T) {
	r := &requester{body: "booked"}
	got := newNATS(t, r).Deliver(t.Context(), attempt(`{"a":1}`))
	if got.Outcome != event.Done || got.Code != 200 || got.Detail != "booked" {
		t.Errorf("Deliver = %+v; want done", got)
	}
	h := r.request.Header
	if r.request.Subject != "ledger.post" || string(r.request.Body) != `{"a":1}` || h["ce-id"] != "e-1" || h["ce-type"] != "RQ_A" ||
		h["ce-specversion"] != "1.0" || h["Content-Type"] != "application/json" || h["Webhook-Id"] != "e-1" || h["Eventd-Attempt"] != "1" || h["X-Fixed"] != "1" {
		t.Errorf("request = %+v", r.request)
	}
	if h["Nats-Msg-Id"] != "" {
		t.Errorf("a request has a Nats-Msg-Id, which is for streams: %q", h["Nats-Msg-Id"])
	}
}

func TestNATSReplies(t *testing.T) {
	for name, c := range map[string]struct {
		r    requester
		want event.Answer
	}{
		"service error, passing":   {requester{header: reply("Nats-Service-Error", "busy", "Nats-Service-Error-Code", "503", "Retry-After", "3")}, event.Answer{Outcome: event.Again, Reason: "http_503", Code: 503, Detail: "busy", Rest: 3 * time.Second}},
		"service error, permanent": {requester{header: reply("Nats-Service-Error-Code", "400"), body: "no account"}, event.Answer{Outcome: event.Never, Reason: event.Rejected, Code: 400, Detail: "no account"}},
		"error without a code":     {requester{header: reply("Nats-Service-Error", "oops")}, event.Answer{Outcome: event.Again, Reason: "http_500", Code: 500, Detail: "oops"}},
		"odd code":                 {requester{header: reply("Nats-Service-Error-Code", "E17", "Nats-Service-Error", "x"), body: "y"}, event.Answer{Outcome: event.Again, Reason: "http_500", Code: 500, Detail: "x: y"}},
		"gone":                     {requester{header: reply("Nats-Service-Error-Code", "410")}, event.Answer{Outcome: event.Never, Reason: event.Gone, Code: 410, Pause: true}},
		"bad follow-up":            {requester{header: reply("ce-id", "1", "ce-type", "B"), body: "x"}, event.Answer{Outcome: event.Never, Reason: event.BadReply, Code: 200}},
		"nobody":                   {requester{err: nobody{errors.New("x")}}, event.Answer{Outcome: event.Again, Reason: event.NATSNoResponders, Detail: "nobody listens on ledger.post"}},
		"no connection":            {requester{err: errors.New("not connected")}, event.Answer{Outcome: event.Again, Reason: event.Network, Detail: "not connected"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := newNATS(t, &c.r).Deliver(t.Context(), attempt("{}"))
			got.Took = 0
			if name == "bad follow-up" && strings.Contains(got.Detail, "specversion") {
				got.Detail = ""
			}
			if got.Outcome != c.want.Outcome || got.Reason != c.want.Reason || got.Code != c.want.Code || got.Detail != c.want.Detail || got.Rest != c.want.Rest || got.Pause != c.want.Pause {
				t.Errorf("Deliver = %+v\nwant %+v", got, c.want)
			}
		})
	}
}

type nobody struct{ error }

func (nobody) NoResponders() bool { return true }

func TestNATSFollowUps(t *testing.T) {
	r := &requester{header: reply("ce-specversion", "1.0", "ce-id", "f-1", "ce-type", "RQ_B", "ce-source", "/ledger", "content-type", "text/plain"), body: "x"}
	got := newNATS(t, r).Deliver(t.Context(), attempt("{}"))
	if len(got.FollowUps) != 1 || got.FollowUps[0].ID != "f-1" || got.FollowUps[0].MessageType != "RQ_B" || got.FollowUps[0].ContentType != "text/plain" {
		t.Errorf("Deliver = %+v; want the follow-up f-1", got)
	}
	r.header, r.body = reply("Content-Type", "application/cloudevents+json"), `{"specversion":"1.0","id":"f-2","type":"RQ_C","source":"/l","data":{}}`
	if got := newNATS(t, r).Deliver(t.Context(), attempt("{}")); len(got.FollowUps) != 1 || got.FollowUps[0].ID != "f-2" {
		t.Errorf("Deliver = %+v; want the follow-up f-2", got)
	}
}

func TestNATSTimeoutAndInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNATS(t, &requester{hang: true})
		if got := n.Deliver(t.Context(), attempt("{}")); got.Reason != event.Timeout || got.Took != 2*time.Second {
			t.Errorf("Deliver = %+v; want a timeout after 2s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := n.Deliver(ctx, attempt("{}")); got.Reason != event.Interrupted || got.Outcome != event.Again {
			t.Errorf("Deliver = %+v; want interrupted", got)
		}
	})
}

func TestNATSOptionsAreChecked(t *testing.T) {
	for _, o := range []NATSOptions{{Subject: ""}, {Subject: "a.*"}, {Subject: "a", RetryOn: []string{"x"}}, {Subject: "a", Headers: map[string]string{"a b": "c"}}} {
		if _, err := NewNATS(o, &requester{}); err == nil {
			t.Errorf("NewNATS(%+v) takes it", o)
		}
	}
	if n := newNATS(t, nil); n.Kind() != "nats" || n.Target() != "ledger.post" || n.Format != envelope.Binary {
		t.Errorf("%s %s %v", n.Kind(), n.Target(), n.Format)
	}
}
