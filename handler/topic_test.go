package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// publisher keeps what is published, and answers with a function.
type publisher struct {
	published []event.Publication
	answer    func(context.Context) error
}

func (p *publisher) Publish(ctx context.Context, m *event.NATSMessage) error {
	p.published = append(p.published, sent(m))
	if p.answer == nil {
		return nil
	}
	return p.answer(ctx)
}

// sent returns a copy of a message, for it is the caller's. A header that is there
// twice has both values.
func sent(m *event.NATSMessage) event.Publication {
	p := event.Publication{Subject: m.Subject, Header: map[string]string{}, Body: m.Body}
	for _, f := range m.Header {
		p.Header[f.Name] += f.Value
	}
	return p
}

func newTopic(t *testing.T, o TopicOptions, p Publisher) *Topic {
	t.Helper()
	h, err := NewTopic(o, p)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestTopicPublishes(t *testing.T) {
	p := &publisher{}
	h := newTopic(t, TopicOptions{Subject: "REQUEST_TOPIC_B", SourceService: "SERVICE_A", TargetService: "DOWNSTREAM_B", Source: "/eventd/A",
		Headers: map[string]string{"Nats-TTL": "1h", "ce-source": "/fixed", "X-Event": "fixed"}}, p)
	a := attempt(`{"a":1}`)
	a.Generation, a.Event.CausationID, a.Event.Headers = 2, "p-1", map[string]string{"x-event": "e", "X-Other": "o"}
	got := h.Deliver(t.Context(), a)
	if got.Outcome != event.Done || got.Took <= 0 || len(got.Sent) != 1 {
		t.Fatalf("Deliver = %+v; want done and one body sent", got)
	}
	m := p.published[0]
	want := map[string]string{"ce-specversion": "1.0", "ce-id": "e-1", "ce-type": "RQ_A", "ce-source": "/fixed", "ce-time": "2026-03-01T12:00:00Z",
		"ce-correlationid": "c-1", "ce-causationid": "p-1", "Correlation-Id": "c-1", "Causation-Id": "p-1", "Content-Type": "application/json",
		"ce-datacontenttype": "application/json", "Webhook-Id": "e-1", "Eventd-Attempt": "1", "Eventd-Route": "start", "Eventd-Table": "inbound", "Nats-TTL": "1h", "X-Event": "fixed",
		"X-Other": "o", "Nats-Msg-Id": "e-1/inbound/UP/2/service-a"}
	if m.Subject != "REQUEST_TOPIC_B" || string(m.Body) != `{"a":1}` || !maps.Equal(m.Header, want) {
		t.Errorf("published %+v\nwant header %v", m, want)
	}
	sent := got.Sent[0]
	if sent.Body != nil || sent.EventID != "e-1" || sent.Topic != "REQUEST_TOPIC_B" || sent.SourceService != "UP" || sent.TargetService != "DOWNSTREAM_B" ||
		sent.ContentType != "application/json" || sent.CreatedBy != "SERVICE_A" {
		t.Errorf("Sent = %+v", sent)
	}
	if h.Kind() != "topic" || h.Target() != "REQUEST_TOPIC_B" {
		t.Errorf("Kind, Target = %s, %s", h.Kind(), h.Target())
	}
}

// What one eventd publishes the next one reads.
func TestTopicIsReadBack(t *testing.T) {
	for _, f := range []envelope.Format{envelope.Binary, envelope.Structured, envelope.Raw} {
		p := &publisher{}
		a := attempt(`{"a":1}`)
		a.Event.SourceService = ""
		got := newTopic(t, TopicOptions{Subject: "s", SourceService: "SERVICE_A", Format: f}, p).Deliver(t.Context(), a)
		if got.Sent[0].SourceService != "SERVICE_A" {
			t.Errorf("SourceService of what was sent = %q; want that of the handler", got.Sent[0].SourceService)
		}
		header := map[string][]string{}
		for name, value := range p.published[0].Header {
			header[name] = []string{value}
		}
		m := envelope.Decode(header, p.published[0].Body, envelope.Origin{Table: event.Inbound})
		if m.Problem != "" || m.MessageType != "RQ_A" || m.CorrelationID != "c-1" || string(m.Payload) != `{"a":1}` {
			t.Errorf("format %d: read back %+v", f, m)
		}
		if f != envelope.Raw && m.ID != "e-1" {
			t.Errorf("format %d: ID = %q; want e-1", f, m.ID)
		}
	}
}

func TestMessageIDsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, v := range []struct {
		id, service, handler string
		table                event.Table
		generation           int
	}{
		{"a", "b", "h", event.Request, 0}, {"a", "b", "h", event.Request, 1}, {"a", "b", "h", event.Response, 0},
		{"a", "b", "h2", event.Request, 0}, {"a", "b/0", "h", event.Request, 0}, {"a/request/b", "b", "h", event.Request, 0},
		{"a%2F", "b", "h", event.Request, 0}, {"a/", "b", "h", event.Request, 0}, {"a\n", "b", "h", event.Request, 0},
	} {
		a := attempt("")
		a.Event.ID, a.Event.SourceService, a.Event.Table, a.Handler, a.Generation = v.id, v.service, v.table, v.handler, v.generation
		id := messageID(a)
		if other, ok := seen[id]; ok || strings.ContainsFunc(id, notInValue) {
			t.Errorf("%+v has the ID %q, which is invalid or that of %s", v, id, other)
		}
		seen[id] = fmt.Sprintf("%+v", v)
	}
}

// refusal is an error that would come again.
type refusal struct{ large, permanent bool }

func (refusal) Error() string     { return "refused" }
func (r refusal) TooLarge() bool  { return r.large }
func (r refusal) Permanent() bool { return r.permanent }

func TestTopicFailures(t *testing.T) {
	slow := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	fail := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	tests := []struct {
		name    string
		answer  func(context.Context) error
		outcome event.Outcome
		reason  event.Reason
		detail  string
	}{
		{"no stream", fail(errors.New("no responders\x00")), event.Again, event.Publish, "no responders\uFFFD"},
		{"too large", fail(fmt.Errorf("publish: %w", refusal{true, true})), event.Never, event.TooLarge, "publish: refused"},
		{"rejected", fail(refusal{false, true}), event.Never, event.Rejected, "refused"},
		{"passing", fail(refusal{}), event.Again, event.Publish, "refused"},
		{"slow", slow, event.Again, event.Publish, "no acknowledgement within 20ms"},
	}
	for _, tt := range tests {
		o := TopicOptions{Subject: "s"}
		if tt.name == "slow" {
			o.Timeout = 20 * time.Millisecond
		}
		h := newTopic(t, o, &publisher{answer: tt.answer})
		got := h.Deliver(t.Context(), attempt(""))
		if got.Outcome != tt.outcome || got.Reason != tt.reason || got.Detail != tt.detail || got.Sent != nil {
			t.Errorf("%s: Deliver = %+v; want %s: %s", tt.name, got, tt.reason, tt.detail)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := newTopic(t, TopicOptions{Subject: "s"}, &publisher{answer: slow})
	if got := h.Deliver(ctx, attempt("")); got.Outcome != event.Again || got.Reason != event.Interrupted {
		t.Errorf("Deliver = %+v; want interrupted", got)
	}
}

func TestNewTopicErrors(t *testing.T) {
	for _, s := range []string{"", " ", "a b", "a.*", ">", "a.>", "a..b", ".a", "a.", "a\n", "a.b>", "a.b*c"} {
		if _, err := NewTopic(TopicOptions{Subject: s}, &publisher{}); err == nil {
			t.Errorf("NewTopic takes the subject %q", s)
		}
	}
	for _, s := range []string{"a", "REQUEST_TOPIC_B", "a.b-c.$d"} {
		if _, err := NewTopic(TopicOptions{Subject: s}, &publisher{}); err != nil {
			t.Errorf("NewTopic with the subject %q: %v", s, err)
		}
	}
	if _, err := NewTopic(TopicOptions{Subject: "s", Headers: map[string]string{"nats-msg-id": "1"}}, &publisher{}); err == nil {
		t.Error("NewTopic takes a fixed Nats-Msg-Id")
	}
}
