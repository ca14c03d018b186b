package queue

import (
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
	"github.com/nats-io/nats.go/jetstream"
)

// Verifier finds out whether a message is from who has the secret.
type Verifier interface {
	// Verify returns nil for a message that is; at is when the server stored it.
	Verify(header map[string][]string, body []byte, at time.Time) error
}

// Checker holds payloads against what is expected of them.
type Checker interface {
	// Check says what is wrong with a payload; "" for nothing.
	Check(payload []byte) string
}

// Checks are what messages of a source have to stand; nil for nothing. Those
// that do not are accepted as `invalid`.
type Checks struct {
	Signature Verifier
	Payload   Checker
}

// SetChecks puts checks in force, for the messages that are decoded from now on.
// They may change while the source runs.
func (s *Source) SetChecks(c Checks) {
	if c.Signature == nil && c.Payload == nil {
		s.checks.Store(nil)
		return
	}
	s.checks.Store(&c)
}

// decode decodes a message and checks it. Of one whose signature is not right
// nothing is believed: it could give itself the id of another event, which would
// then count as its duplicate.
func (c *Checks) decode(m jetstream.Msg, o envelope.Origin) event.Message {
	if c.Signature != nil {
		if err := c.Signature.Verify(m.Headers(), m.Data(), o.Position.Stored); err != nil {
			return envelope.Refuse(m.Headers(), m.Data(), o, event.Invalid, "the signature is not right: "+err.Error())
		}
	}
	e := envelope.Decode(m.Headers(), m.Data(), o)
	if c.Payload != nil && e.Problem == "" {
		if flaw := c.Payload.Check(e.Payload); flaw != "" {
			e.Problem, e.Detail = event.Invalid, "the payload does not fit the schema of source "+o.Source+": "+flaw
		}
	}
	return e
}
