package router

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/eventd-io/eventd/event"
)

// leased is a claim that is open. The store has it too, as an IN_PROGRESS
// delivery with the time its lease runs out; this is what wakes us then.
type leased struct {
	seq     uint64
	index   int
	handler string
	until   time.Time
}

type leaseKey struct {
	seq   uint64
	index int
}

// leases knows the open claims: some hundred bytes each.
type leases struct {
	mu    sync.Mutex
	open  map[leaseKey]leased
	queue leaseQueue // soonest first; may hold what is over or was extended
	count map[string]int
	wake  chan struct{}
}

func newLeases() *leases {
	return &leases{open: make(map[leaseKey]leased), count: make(map[string]int), wake: make(chan struct{}, 1)}
}

// leaseSlack is how many entries that are over the queue may hold beside as many
// as there are open leases.
const leaseSlack = 1024

// set notes a lease, or a new end of one.
func (l *leases) set(x leased) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(x)
}

// put is set for who holds mu.
func (l *leases) put(x leased) {
	key := leaseKey{x.seq, x.index}
	if _, known := l.open[key]; !known {
		l.count[x.handler]++
	}
	l.open[key] = x
	heap.Push(&l.queue, x)
	if len(l.queue) > 2*len(l.open)+leaseSlack {
		l.queue = slices.AppendSeq(l.queue[:0], maps.Values(l.open))
		heap.Init(&l.queue)
	}
	if l.queue[0] == x {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// putBack notes a lease again that was taken out, unless it was extended meanwhile.
func (l *leases) putBack(x leased) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.open[leaseKey{x.seq, x.index}]; !known {
		l.put(x)
	}
}

// extend notes a new end of a lease that is open. One that is not has run out or
// is over meanwhile: who ends it looks at the stored end.
func (l *leases) extend(x leased) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.open[leaseKey{x.seq, x.index}]; known {
		l.put(x)
	}
}

// drop forgets a lease that is over.
func (l *leases) drop(seq uint64, index int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(leaseKey{seq, index})
}

func (l *leases) remove(key leaseKey) {
	if x, known := l.open[key]; known {
		l.count[x.handler]--
		delete(l.open, key)
	}
}

// due takes out the leases that have run out, at most so many, and says when the
// next does; zero for never.
func (l *leases) due(now time.Time, most int) (list []leased, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		x := l.queue[0]
		key := leaseKey{x.seq, x.index}
		if l.open[key] == x {
			if x.until.After(now) || len(list) == most {
				return list, x.until
			}
			l.remove(key)
			list = append(list, x)
		}
		heap.Pop(&l.queue)
	}
	return list, time.Time{}
}

// of returns how many claims of a handler are open.
func (l *leases) of(handler string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[handler]
}

type leaseQueue []leased

func (q leaseQueue) Len() int           { return len(q) }
func (q leaseQueue) Less(i, j int) bool { return q[i].until.Before(q[j].until) }
func (q leaseQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *leaseQueue) Push(x any)        { *q = append(*q, x.(leased)) }
func (q *leaseQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// leaseLoop ends the leases that have run out until ctx ends.
func (r *Router) leaseLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.leases.wake:
		case <-timer.C:
		}
		timer.Reset(r.expireLeases(ctx))
	}
}

// longestSleep bounds how long a clock that was set forward goes unnoticed.
const longestSleep = time.Minute

// expireLeases ends what has run out and returns how long to sleep.
func (r *Router) expireLeases(ctx context.Context) time.Duration {
	list, next := r.leases.due(clock(), page)
	if err := r.expireAll(ctx, list); err != nil {
		r.log.Error().Err(err).Int("claims", len(list)).Msg("leases that ran out cannot be ended; trying again")
		for _, x := range list {
			x.until = clock().Add(time.Second)
			r.leases.putBack(x)
		}
		return time.Second
	}
	if next.IsZero() {
		return longestSleep
	}
	return min(max(time.Until(next), 0), longestSleep)
}

// expireAll makes events whose lease ran out RETRY `claim_expired`, in one commit.
func (r *Router) expireAll(ctx context.Context, list []leased) error {
	if len(list) == 0 {
		return nil
	}
	now := clock()
	outcomes, of := make([]*outcome, 0, len(list)), make([]leased, 0, len(list))
	for _, x := range list {
		rec, err := r.store.Get(ctx, x.seq)
		if errors.Is(err, event.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if o := r.expiry(&rec, x, now); o != nil {
			outcomes, of = append(outcomes, o), append(of, x)
		}
	}
	if err := r.settle(outcomes, 0); err != nil {
		return err
	}
	for i, o := range outcomes {
		if errors.Is(o.Err, event.ErrConflict) { // it may have been extended: look again
			r.leases.putBack(of[i])
		}
	}
	return nil
}

// expiry is the outcome of a lease that ran out, nil when it was extended or is over.
func (r *Router) expiry(rec *event.Record, x leased, now time.Time) *outcome {
	if x.index >= len(rec.Deliveries) {
		return nil
	}
	d := rec.Deliveries[x.index]
	if d.Status != event.InProgress || d.NextAttempt.IsZero() {
		return nil
	}
	if d.NextAttempt.After(now) {
		x.until = d.NextAttempt // of two extensions the sooner one was noted last
		r.leases.set(x)
		return nil
	}
	t := &task{event: &rec.Event, index: x.index, delivery: d}
	h := r.claimHandler(d.Handler, rec.UpdatedBy)
	return &outcome{handler: h, task: t, until: d.NextAttempt, answer: event.Answer{
		Outcome: event.Again, Reason: event.ClaimExpired, Took: now.Sub(claimedAt(rec, &d)),
		Detail: "the lease of " + rec.UpdatedBy + " ran out",
	}}
}
