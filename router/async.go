package router

import (
	"context"
	"errors"
	"time"

	"github.com/eventd-io/eventd/event"
)

// A handler that is asynchronous may take an event over: its answer frees the
// slot, and the delivery stays IN_PROGRESS with the end of a lease, like one that
// is claimed. Whoever has the claim id, which went out with the request, says
// what became of it (claim.go), also before the answer to the request is there;
// else the lease runs out (lease.go).

// claimOf names the attempt to a handler that may take it over; "" for others.
func (d *dispatcher) claimOf(h *Handler, t *task) string {
	if h.AsyncTimeout == 0 {
		return ""
	}
	return d.router.claimID(t, t.began)
}

// entrusted returns how many of n attempts may begin with what the handler has
// taken over already. The caller holds mu.
func (d *dispatcher) entrusted(n int) int {
	if d.handler.AsyncTimeout == 0 {
		return n
	}
	return min(n, d.handler.AsyncMost-d.router.leases.of(d.name)-d.taken())
}

// leasable reports whether someone may have a delivery that is IN_PROGRESS: its
// lease is open, or its handler has the claim id and has not answered yet.
func (r *Router) leasable(d *event.Delivery) bool {
	if !d.NextAttempt.IsZero() {
		return true
	}
	h := r.dispatcher(d.Handler)
	return h != nil && h.configured().AsyncTimeout > 0
}

// entrust notes what became of the lease of an attempt whose outcome is stored.
// It returns false when the outcome has ended the attempt.
func (r *Router) entrust(o *outcome) bool {
	x := leased{seq: o.task.event.Seq, index: o.task.index, handler: o.handler.Name, until: o.next.NextAttempt}
	if o.answer.Outcome != event.Taken {
		r.leases.drop(x.seq, x.index) // it may have been extended before
		r.concluded(o.handler.Name)
		return false
	}
	r.leases.set(x)
	// Who concluded it between the commit and this has found no lease to drop.
	rec, err := r.store.Get(context.WithoutCancel(r.attempts), x.seq)
	if err != nil || x.index >= len(rec.Deliveries) || rec.Deliveries[x.index].Status != event.InProgress {
		r.leases.drop(x.seq, x.index)
	}
	return true
}

// preceded reports whether an outcome is not stored because the event had been
// concluded by its claim when the handler answered.
func (o *outcome) preceded() bool {
	return o.handler.AsyncTimeout > 0 && errors.Is(o.Err, event.ErrConflict)
}

// concluded lets a handler have another event in place of one it had taken over.
func (r *Router) concluded(handler string) {
	d := r.dispatcher(handler)
	if d == nil || d.configured().AsyncTimeout == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freed(time.Now())
}
