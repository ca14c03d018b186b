package router

import (
	"strconv"

	"github.com/eventd-io/eventd/event"
)

// maxDeadLetterDetail bounds the detail in a dead letter's header, in bytes.
const maxDeadLetterDetail = 1024

// deadLetters returns what is to be published of a delivery that ended badly.
func (r *Router) deadLetters(e *event.Event, d event.Delivery, detail string) []event.Publication {
	subject := r.live.Load().deadLetter
	if subject == "" || !d.Status.DeadLetter() {
		return nil
	}
	h := map[string]string{
		"eventd-reason":       string(d.Reason),
		"eventd-detail":       headerText(detail),
		"eventd-attempts":     strconv.Itoa(d.Attempts),
		"eventd-status":       d.Status.String(),
		"eventd-event-id":     headerText(e.ID),
		"eventd-table":        e.Table.String(),
		"eventd-message-type": headerText(e.MessageType),
		"Nats-Msg-Id": event.DeriveID("dead letter", e.Table.String(), e.SourceService, e.ID,
			d.Handler, strconv.Itoa(d.Generation), string(d.Reason)),
	}
	for name, value := range map[string]string{
		"eventd-handler": d.Handler, "eventd-source-service": e.SourceService,
		"eventd-correlation-id": e.CorrelationID, "Content-Type": e.ContentType,
	} {
		if value != "" {
			h[name] = headerText(value)
		}
	}
	return []event.Publication{{Subject: subject, Header: h}}
}

// headerText makes any text fit for a header: one line of printable ASCII and
// at most so many bytes.
func headerText(s string) string {
	b := make([]byte, 0, min(len(s), maxDeadLetterDetail))
	for i := 0; i < len(s) && len(b) < maxDeadLetterDetail; i++ {
		c := s[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		b = append(b, c)
	}
	return string(b)
}
