package router

import (
	"context"
	"time"

	"github.com/eventd-io/eventd/event"
)

// fair lets neither the retries of a handler stand in the way of its fresh events
// nor these in the way of retries. The queue is in the order in which they are
// due; where nearly all in front are of one kind, half of the room goes to the
// first of the other kind behind them. What waits longest still has its half, so
// nothing is passed by for ever.
type fair struct {
	turn    int // makes up for the half of an odd number
	fresh   event.DuePlace
	retries event.DuePlace // up to where there is none of the kind, beside the front
}

// forget lets the search begin anew.
func (f *fair) forget() { f.fresh, f.retries = event.DuePlace{}, event.DuePlace{} }

// half returns half of n, of odd ones alternately less and more.
func (f *fair) half(n int) int {
	f.turn ^= n & 1
	return (n + f.turn) / 2
}

func (f *fair) place(s event.Status) *event.DuePlace {
	if s == event.Retry {
		return &f.retries
	}
	return &f.fresh
}

// front returns what of the handler's queue a query asks for: the first that are
// due, and of the kind that is rare among these the first ones behind them, to half
// of the limit. next is when the first one not returned is due, as in the store.
// Where there is little room for them, what waits longest goes first.
func (d *dispatcher) front(ctx context.Context, q event.DueQuery) (list []event.Due, next time.Time, err error) {
	list, next, err = d.router.store.Due(ctx, q)
	if err != nil || len(list) == 0 || next.IsZero() || next.After(q.Now) || q.Room != nil {
		return list, next, err
	}
	n := q.Limit
	kind, missing, after := d.missing(list, n)
	if missing <= 0 || !d.anyOf(kind) {
		return list, next, nil
	}
	q.Limit, q.Bytes = missing, max(q.Bytes/2, 1)
	aside, reached, err := d.router.store.DueAside(ctx, q, kind, after)
	if err != nil {
		return nil, next, err
	}
	d.mu.Lock()
	*d.fair.place(kind) = sureUpTo(reached, q.Now)
	d.mu.Unlock()
	keep := min(len(list), n-len(aside))
	if keep < len(list) {
		next = list[keep].Delivery.NextAttempt
	}
	return append(list[:keep:keep], aside...), next, nil
}

// commitLag is after what time nothing is stored any more that is due before it: an
// event is due from when it was planned, and stored a commit later.
const commitLag = 2 * time.Second

// sureUpTo returns the place up to which a search need not look again: not the one it
// has reached, where events may still come to lie before that.
func sureUpTo(reached event.DuePlace, now time.Time) event.DuePlace {
	if sure := (event.DuePlace{At: now.Add(-commitLag)}); sure.Before(reached) {
		return sure
	}
	return reached
}

// missing returns of which kind the front of the queue has too few, how many, and
// behind which place more of them may be.
func (d *dispatcher) missing(list []event.Due, n int) (kind event.Status, few int, after event.DuePlace) {
	retries := 0
	for i := range list {
		if list[i].Delivery.Status == event.Retry {
			retries++
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	kind, few = event.Retry, retries
	if fresh := len(list) - retries; fresh < retries {
		kind, few = event.Unprocessed, fresh
	}
	after = *d.fair.place(kind)
	last := &list[len(list)-1]
	if end := (event.DuePlace{At: last.Delivery.NextAttempt, Seq: last.Event.Seq, Index: last.Index}); after.Before(end) {
		after = end
	}
	return kind, d.fair.half(n) - few, after
}

// anyOf reports whether something of a kind waits, due or not.
func (d *dispatcher) anyOf(kind event.Status) bool {
	fresh, retries := d.router.store.Waiting(d.name)
	if kind == event.Retry {
		return retries > 0
	}
	return fresh > 0
}

// sooner returns the earlier of two times of which the zero one is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
