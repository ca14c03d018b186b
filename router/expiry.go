package router

import (
	"time"

	"github.com/eventd-io/eventd/event"
)

// expiry is the shortest `expires` of the routes that took an event; 0 for none.
type expiry time.Duration

func (x *expiry) limit(d time.Duration) {
	if d > 0 && (*x == 0 || expiry(d) < *x) {
		*x = expiry(d)
	}
}

// of returns when an event expires: as the event itself says, or as its routes
// do, whichever comes first. A delayed event has its whole time after the delay.
func (x expiry) of(e *event.Event) time.Time {
	if x == 0 {
		return e.Expires
	}
	from := e.CreatedAt
	if e.DeliverAt.After(from) {
		from = e.DeliverAt
	}
	at := from.Add(time.Duration(x))
	if e.Expires.IsZero() || at.Before(e.Expires) {
		return at
	}
	return e.Expires
}

// notBeyond brings forward what would come due after an event expires: it ends
// then, and does not wait for an attempt that is not made.
func notBeyond(d event.Delivery, e *event.Event) event.Delivery {
	waits := d.Status == event.Retry || d.Status == event.Unprocessed
	if end := e.Expires.Add(time.Microsecond); waits && !e.Expires.IsZero() && d.NextAttempt.After(end) {
		d.NextAttempt = dueTime(end, 0)
	}
	return d
}
