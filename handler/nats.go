package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// Requester makes NATS requests.
type Requester interface {
	// Request sends a message and returns the reply to it. An error whose method
	// NoResponders() says true means that nobody listens; the others are those of
	// [Publisher].
	Request(ctx context.Context, m *event.NATSMessage) (header map[string][]string, body []byte, err error)
}

// NATSOptions configure a [NATS].
type NATSOptions struct {
	Subject string // without wildcards
	Timeout time.Duration
	Format  envelope.Format
	Headers map[string]string // sent with each request; they win over those of the event
	RetryOn []string          // as for [HTTPOptions]
	Source  string            // CloudEvents source of events that came without one
	Signer  Signer            // of every request; nil for none
}

// NATS requests a reply on a NATS subject: a service that speaks nothing else.
type NATS struct {
	NATSOptions
	requester Requester
	retryOn   *RetryOn
	spaces    spaces
}

// NewNATS returns a handler that requests with r. It is an error when the subject
// is none that a message can be sent on.
func NewNATS(o NATSOptions, r Requester) (*NATS, error) {
	if err := checkSubject(o.Subject); err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	retryOn, err := ParseRetryOn(o.RetryOn)
	if err != nil {
		return nil, err
	}
	if _, err := fixedHeaders(o.Headers); err != nil {
		return nil, err
	}
	return &NATS{NATSOptions: o, requester: r, retryOn: retryOn}, nil
}

// Kind returns "nats".
func (n *NATS) Kind() string { return "nats" }

// Target returns the subject.
func (n *NATS) Target() string { return n.Subject }

// Deliver sends the event once and reads the reply as an HTTP handler's answer:
// its code is the header Nats-Service-Error-Code, 200 without one.
func (n *NATS) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, n.Timeout, errTimeout)
	defer cancel()
	m := n.spaces.message(a, n.Format, n.Source, n.Headers, n.Signer)
	defer n.spaces.done(m)
	m.Subject = n.Subject
	header, reply, err := n.requester.Request(ctx, &m.NATSMessage)
	var answer event.Answer
	if err != nil {
		answer = n.failure(ctx, err)
	} else {
		answer = n.read(header, reply)
	}
	answer.Took = time.Since(start)
	return answer
}

// Headers of an error of a NATS micro service (ADR-32).
const (
	serviceErrorCode = "Nats-Service-Error-Code"
	serviceError     = "Nats-Service-Error"
)

func (n *NATS) read(header map[string][]string, body []byte) event.Answer {
	h := make(http.Header, len(header))
	for name, values := range header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	code := http.StatusOK
	if text := h.Get(serviceErrorCode); text != "" || h.Get(serviceError) != "" {
		var err error
		if code, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
			code = http.StatusInternalServerError // an error it is, of whatever kind
		}
	}
	a := classify(code, h, n.retryOn, time.Now())
	if code == http.StatusOK && envelope.IsCloudEvent(h) {
		takeFollowUps(h, body, &a)
		return a
	}
	detail := body
	if text := h.Get(serviceError); text != "" {
		detail = []byte(strings.TrimSuffix(text+": "+string(body), ": "))
	}
	a.Detail = detailOf(detail)
	return a
}

// failure says what a request means that had no reply. The service may have done
// its work all the same.
func (n *NATS) failure(ctx context.Context, err error) event.Answer {
	a := event.Answer{Outcome: event.Again, Reason: event.Network, Detail: detailOf([]byte(err.Error()))}
	var nobody interface{ NoResponders() bool }
	var permanent interface{ Permanent() bool }
	var large interface{ TooLarge() bool }
	switch cause := context.Cause(ctx); {
	case errors.As(err, &nobody) && nobody.NoResponders():
		a.Reason, a.Detail = event.NATSNoResponders, "nobody listens on "+n.Subject
	case errors.As(err, &large) && large.TooLarge():
		a.Outcome, a.Reason = event.Never, event.TooLarge
	case errors.As(err, &permanent) && permanent.Permanent():
		a.Outcome, a.Reason = event.Never, event.Rejected
	case errors.Is(cause, errTimeout):
		a.Reason, a.Detail = event.Timeout, fmt.Sprintf("no reply within %v", n.Timeout)
	case cause != nil:
		a.Reason, a.Detail = event.Interrupted, "eventd ended the attempt before there was a reply"
	}
	return a
}
