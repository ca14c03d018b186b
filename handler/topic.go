package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// Publisher publishes to JetStream.
type Publisher interface {
	// Publish returns nil once the server has acknowledged the message, and an error
	// when ctx ends before: nothing else bounds the time. An
	// error whose method Permanent() says true would come again at each attempt;
	// if its method TooLarge() does too, it is because of the size. The header is
	// the caller's again when it returns.
	Publish(ctx context.Context, m *event.NATSMessage) error
}

// TopicOptions configure a [Topic].
type TopicOptions struct {
	Subject       string // without wildcards
	SourceService string // who sends events that name no source service
	TargetService string // whom they are meant for
	Timeout       time.Duration
	Format        envelope.Format
	Headers       map[string]string // sent with each message; they win over those of the event
	Source        string            // CloudEvents source of events that came without one
	Signer        Signer            // of every message; nil for none
}

// Topic publishes events to a JetStream subject.
type Topic struct {
	TopicOptions
	publisher Publisher
	spaces    spaces
	limits    limits
}

// NewTopic returns a handler that publishes with p. It is an error when the
// subject is none that a message can be published on.
func NewTopic(o TopicOptions, p Publisher) (*Topic, error) {
	if err := checkSubject(o.Subject); err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	// A message id that is always the same would make the server drop all
	// events but the first as duplicates.
	if _, err := fixedHeaders(o.Headers, "Nats-Msg-Id"); err != nil {
		return nil, err
	}
	return &Topic{TopicOptions: o, publisher: p}, nil
}

func checkSubject(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("subject %q is empty or holds spaces", s)
	}
	if strings.ContainsAny(s, "*>") {
		return fmt.Errorf("subject %q has wildcards: a message is published on one subject", s)
	}
	if strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return fmt.Errorf("subject %q has an empty part", s)
	}
	return nil
}

// Kind returns "topic".
func (t *Topic) Kind() string { return "topic" }

// Target returns the subject.
func (t *Topic) Target() string { return t.Subject }

// errTimeout is the cause of a context that ended because the attempt took too long.
var errTimeout = errors.New("attempt took too long")

// limits hands out contexts that end when an attempt has taken too long. Attempts
// that begin within a hundredth of the timeout share one, and have so much more time:
// a context of its own would cost each more than its message does.
type limits struct {
	mu     sync.Mutex
	parent context.Context
	shared context.Context
	until  time.Time // when another is needed
}

// within returns a context that ends with its parent, or some time after timeout. It
// is not to be cancelled.
func (l *limits) within(parent context.Context, timeout time.Duration, now time.Time) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parent != parent || !now.Before(l.until) {
		spare := timeout / 100
		ctx, cancel := context.WithCancelCause(parent)
		time.AfterFunc(timeout+spare, func() { cancel(errTimeout) })
		l.parent, l.shared, l.until = parent, ctx, now.Add(spare)
	}
	return l.shared
}

// Deliver publishes the event once and waits for the acknowledgement. The
// message id keeps the server from storing it twice when an attempt is made
// again though the server had stored the event.
func (t *Topic) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	start := time.Now()
	ctx = t.limits.within(ctx, t.Timeout, start)
	answer := event.Answer{Outcome: event.Done}
	m := t.spaces.message(a, t.Format, t.Source, t.Headers, t.Signer)
	defer t.spaces.done(m)
	m.set("Nats-Msg-Id", messageID(a))
	m.Subject = t.Subject
	if err := t.publisher.Publish(ctx, &m.NATSMessage); err != nil {
		answer = t.failure(ctx, err)
	} else {
		answer.Sent = []event.Payload{t.sent(a.Event)}
	}
	answer.Took = time.Since(start)
	return answer
}

// message is an attempt as NATS carries it.
type message struct {
	event.NATSMessage
	fields envelope.Fields
}

// set sets a header, whatever it was.
func (m *message) set(name, value string) {
	for i := range m.Header {
		if m.Header[i].Name == name {
			m.Header[i].Value = value
			return
		}
	}
	m.Header = append(m.Header, event.Field{Name: name, Value: value})
}

// drop takes a header away.
func (m *message) drop(name string) {
	m.Header = slices.DeleteFunc(m.Header, func(f event.Field) bool { return f.Name == name })
}

// spaces keeps room for the headers of messages.
type spaces struct{ pool sync.Pool } // of *message

// done takes back a message that nobody uses any more.
func (s *spaces) done(m *message) {
	clear(m.Header)
	clear(m.fields)
	m.Header, m.Body = m.Header[:0], nil
	s.pool.Put(m)
}

// message returns the headers and the body of an attempt. The fixed headers win over
// those of the event. Signer may be nil. The caller gives it back.
func (s *spaces) message(a *event.Attempt, f envelope.Format, source string, fixed map[string]string, signer Signer) *message {
	m, _ := s.pool.Get().(*message)
	if m == nil {
		m = &message{}
	}
	m.fields, m.Body = envelope.Encode(m.fields, a, f, source)
	if signer != nil {
		m.fields = signed(m.fields, signer, m.Body)
	}
	cloudEvent := false
	for _, f := range m.fields {
		name := natsName(f.Name)
		cloudEvent = cloudEvent || name == "ce-specversion"
		m.Header = append(m.Header, event.Field{Name: name, Value: f.Value})
	}
	if f == envelope.Binary {
		// The binding to NATS has the content type as an attribute; the libraries,
		// and services that know no CloudEvents, look for the header.
		if e := a.Event; e.ContentType != "" && cloudEvent {
			m.set("ce-datacontenttype", envelope.AttributeValue(e.ContentType))
		}
		m.setValid("Correlation-Id", a.Event.CorrelationID)
		m.setValid("Causation-Id", a.Event.CausationID)
	}
	for name, value := range fixed {
		m.drop(natsName(http.CanonicalHeaderKey(name)))
		m.set(name, strings.TrimSpace(value)) // in the case it is configured in: Nats-TTL
	}
	return m
}

// natsName returns a header name as NATS, which minds the case, expects it: the
// attributes of CloudEvents in lower case.
func natsName(canonical string) string {
	if lower, ok := natsNames[canonical]; ok {
		return lower
	}
	if strings.HasPrefix(canonical, "Ce-") {
		return strings.ToLower(canonical)
	}
	return canonical
}

// natsNames are those of nearly every event.
var natsNames = map[string]string{
	"Ce-Specversion": "ce-specversion", "Ce-Id": "ce-id", "Ce-Source": "ce-source", "Ce-Type": "ce-type",
	"Ce-Time": "ce-time", "Ce-Correlationid": "ce-correlationid", "Ce-Causationid": "ce-causationid",
}

func (m *message) setValid(name, value string) {
	if value != "" && !strings.ContainsFunc(value, notInValue) {
		m.set(name, value)
	}
}

// messageID names what is published, for the server's own deduplication. The
// handler is part of it: two handlers may publish the same event into the same
// stream. No part holds a slash, so that no two events share an ID.
func messageID(a *event.Attempt) string {
	e := a.Event
	return strings.Join([]string{url.PathEscape(e.ID), e.Table.String(), url.PathEscape(e.SourceService),
		strconv.Itoa(a.Generation), url.PathEscape(a.Handler)}, "/")
}

func (t *Topic) sent(e *event.Event) event.Payload {
	source := e.SourceService
	if source == "" {
		source = t.SourceService
	}
	return event.Payload{EventID: e.ID, Topic: t.Subject, SourceService: source, TargetService: t.TargetService,
		ContentType: e.ContentType, CreatedBy: t.SourceService, CreatedAt: time.Now().UTC()}
}

// failure says what a publication means that was not acknowledged. The event
// may be in the stream all the same.
func (t *Topic) failure(ctx context.Context, err error) event.Answer {
	a := event.Answer{Outcome: event.Again, Reason: event.Publish, Detail: detailOf([]byte(err.Error()))}
	var permanent interface{ Permanent() bool }
	var large interface{ TooLarge() bool }
	switch cause := context.Cause(ctx); {
	case errors.As(err, &large) && large.TooLarge():
		a.Outcome, a.Reason = event.Never, event.TooLarge
	case errors.As(err, &permanent) && permanent.Permanent():
		a.Outcome, a.Reason = event.Never, event.Rejected
	case errors.Is(cause, errTimeout):
		a.Detail = fmt.Sprintf("no acknowledgement within %v", t.Timeout)
	case cause != nil:
		a.Reason, a.Detail = event.Interrupted, "eventd ended the attempt before the server had acknowledged"
	}
	return a
}
