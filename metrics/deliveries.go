package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/prometheus/client_golang/prometheus"
)

// ending is how an attempt ended: the delivery's next status, and why.
type ending struct {
	outcome event.Status
	reason  event.Reason
}

// handlerSeries are the counters of one handler.
type handlerSeries struct {
	name string
	took prometheus.Observer
	// ended grows when an HTTP status is met first. The map is never changed,
	// only replaced.
	ended atomic.Pointer[map[ending]prometheus.Counter]
}

var outcomes = map[event.Status]string{
	event.Completed: "completed", event.Retry: "retry", event.Error: "error", event.Failed: "failed",
}

// expected are the endings that are shown from the start, so that the first one
// is seen as an increase. HTTP statuses are too many to be.
var expected = []ending{
	{event.Completed, ""},
	{event.Retry, event.Timeout}, {event.Retry, event.Refused}, {event.Retry, event.Network},
	{event.Retry, event.Publish}, {event.Retry, event.Interrupted},
	{event.Error, event.Rejected}, {event.Error, event.BadReply}, {event.Error, event.Gone}, {event.Error, event.TooLarge},
	{event.Failed, event.Exhausted},
}

// reasons are those with a label value of their own, beside HTTP statuses.
var reasons = []event.Reason{
	"", event.NoRoute, event.Undecodable, event.Invalid, event.Rejected, event.BadReply, event.Expired,
	event.Loop, event.Gone, event.TooLarge, event.Exhausted, event.Poison, event.Cancelled,
	event.Timeout, event.Refused, event.Network, event.NATSNoResponders, event.ClaimExpired, event.ClaimFailed,
	event.Interrupted, event.Publish, event.Quarantined,
}

func (m *Metrics) newHandlerSeries(name string) *handlerSeries {
	h := &handlerSeries{name: name, took: m.deliveryTook.WithLabelValues(name)}
	ended := make(map[ending]prometheus.Counter, len(expected))
	for _, e := range expected {
		ended[e] = m.ended(name, e)
	}
	h.ended.Store(&ended)
	return h
}

// DeliveryEnded counts an attempt that ended, by what became of the delivery,
// and observes how long it took.
func (m *Metrics) DeliveryEnded(handler string, outcome event.Status, reason event.Reason, took time.Duration) {
	h := of(m.live.Load().handlers, handler)
	h.took.Observe(seconds(took))
	e := ending{outcome, reason}
	c, ok := (*h.ended.Load())[e]
	if !ok {
		c = m.meet(handler, bounded(e))
	}
	c.Inc()
}

// meet returns the counter of an ending that was not shown before. The handler
// is looked up again under the lock, lest it be configured away in between and
// its series come back.
func (m *Metrics) meet(handler string, e ending) prometheus.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := of(m.live.Load().handlers, handler)
	known := *h.ended.Load()
	if c, ok := known[e]; ok {
		return c
	}
	next := maps.Clone(known)
	next[e] = m.ended(h.name, e)
	h.ended.Store(&next)
	return next[e]
}

// ended makes the series of an ending that is bounded.
func (m *Metrics) ended(handler string, e ending) prometheus.Counter {
	outcome, ok := outcomes[e.outcome]
	if !ok {
		outcome = other
	}
	return m.deliveries.WithLabelValues(handler, outcome, string(e.reason))
}

// bounded makes one ending of all that should not occur.
func bounded(e ending) ending {
	if _, ok := outcomes[e.outcome]; !ok {
		e.outcome = 0
	}
	if !slices.Contains(reasons, e.reason) && !isHTTPStatus(e.reason) {
		e.reason = other
	}
	return e
}

// isHTTPStatus reports whether it is what [event.HTTPStatus] makes of a status
// code that can occur.
func isHTTPStatus(r event.Reason) bool {
	digits, ok := strings.CutPrefix(string(r), "http_")
	code, err := strconv.Atoi(digits)
	return ok && err == nil && code >= 100 && code <= 599 && event.HTTPStatus(code) == r
}
