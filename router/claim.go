package router

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// polled reports whether services claim the events of a handler, and nothing is
// handed to it.
func (h *Handler) polled() bool { return h.Lease > 0 }

// Claim takes events of a polled handler for a service, those that wait longest
// first. It waits for one as long as the order says, and returns none when there
// is none by then or eventd stops. An attempt of each is counted and stored,
// with the time its lease runs out, when it returns. Errors: [event.ErrNotFound]
// for an unknown handler, [event.ErrConflict] for one that is not polled.
func (r *Router) Claim(ctx context.Context, handler string, o event.ClaimOrder) ([]event.Claim, error) {
	patience := time.NewTimer(o.Wait)
	defer patience.Stop()
	for {
		d := r.dispatcher(handler)
		if d == nil {
			return nil, fmt.Errorf("handler %q: %w", handler, event.ErrNotFound)
		}
		h := d.configured()
		if !h.polled() {
			return nil, fmt.Errorf("handler %q is of kind %s and not polled: %w", handler, h.Kind, event.ErrConflict)
		}
		news := d.news()
		claims, err := d.claim(ctx, h, o)
		if err != nil || len(claims) > 0 || o.Wait <= 0 {
			return claims, err
		}
		select {
		case <-news:
		case <-patience.C:
			return nil, nil
		case <-r.quit:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// news returns a channel that is closed when there may be something to claim
// that was not there before.
func (d *dispatcher) news() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.announced == nil {
		d.announced = make(chan struct{})
	}
	return d.announced
}

// announce wakes who waits for something to claim.
func (d *dispatcher) announce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.announced != nil {
		close(d.announced)
		d.announced = nil
	}
}

// claim takes what is due now. Claims of one handler are made one after the
// other, so that no two look at the same events.
func (d *dispatcher) claim(ctx context.Context, h *Handler, o event.ClaimOrder) ([]event.Claim, error) {
	select {
	case d.claiming <- struct{}{}:
		defer func() { <-d.claiming }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for readings := 1; ; readings++ {
		now := clock()
		most := d.claimable(o.Max, now)
		if most <= 0 {
			return nil, nil
		}
		list, next, err := d.front(ctx, event.DueQuery{Handler: d.name, Now: now, Limit: most, Bytes: heldBytes, Room: o.Room})
		if err != nil {
			return nil, err
		}
		claims, err := d.lease(list, h, o, now)
		if err != nil || len(claims) > 0 {
			return claims, err
		}
		if next.IsZero() || next.After(now) {
			d.router.alarm.Set(d.name, next)
			return nil, nil
		}
		if len(list) == 0 && o.Room != nil && readings > 1 {
			return nil, nil // what waits longest is too large, not damaged
		}
	}
}

// claimable returns how many of n events may be claimed now. Where none may for a
// time, who waits is woken after it.
func (d *dispatcher) claimable(n int, now time.Time) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.router.alarm.Set(d.name, d.reopens(now))
	if !d.open(now) {
		return 0
	}
	return d.allowed(n)
}

// lease counts an attempt of each event, in one commit, and gives it away.
func (d *dispatcher) lease(list []event.Due, h *Handler, o event.ClaimOrder, now time.Time) ([]event.Claim, error) {
	if len(list) == 0 {
		return nil, nil
	}
	lease, by := o.Lease, o.By
	if lease <= 0 {
		lease = h.Lease
	}
	if by == "" {
		by = h.Service
	}
	until := dueTime(now, lease)
	tasks, steps := make([]*task, len(list)), make([]*step, len(list))
	for i := range list {
		x := &list[i]
		tasks[i] = &task{event: x.Event, payload: x.Payload, index: x.Index, delivery: x.Delivery, before: x.Delivery}
		steps[i] = d.router.leaseStep(tasks[i], by, now, until)
	}
	// What is begun is not left half-way: a lease that nobody learns of runs out.
	if err := d.router.commit(context.WithoutCancel(d.router.attempts), now, steps...); err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.spend(len(list))
	d.mu.Unlock()
	claims := make([]event.Claim, 0, len(list))
	for i, t := range tasks {
		if steps[i].Err != nil || t.delivery.Status != event.InProgress {
			d.router.takeUpHeld(steps[i])
			continue // cancelled, redriven or held meanwhile, or its time is over
		}
		d.router.leases.set(leased{seq: t.event.Seq, index: t.index, handler: d.name, until: until})
		claims = append(claims, event.Claim{
			ID: d.router.claimID(t, now), Until: until, Attempt: t.delivery.Attempts, Payload: t.payload,
			Record: event.Record{Event: *t.event, State: event.State{
				Status: event.InProgress, UpdatedBy: by, UpdatedAt: now, Deliveries: []event.Delivery{t.delivery},
			}},
		})
	}
	return claims, nil
}

// leaseStep is a beginStep whose attempt ends by itself at a time: for an event
// that is claimed, NextAttempt is when its lease runs out.
func (r *Router) leaseStep(t *task, by string, now, until time.Time) *step {
	begin := r.beginStep(t, by, now)
	return newStep(t.event, func(s *event.State) (*event.Effects, error) {
		effects, err := begin.Step(s)
		if err == nil && t.delivery.Status == event.InProgress {
			s.Deliveries[t.index].NextAttempt = until
			t.delivery.NextAttempt = until
			s.Timeline[len(s.Timeline)-1].Detail = "claimed by " + by
		}
		return effects, err
	})
}

// CompleteClaim says that a claimed event is handled: COMPLETED, stored together
// with its follow-up events. by becomes updated_by; "" stands for the handler's
// service. Errors of this and the other methods for claims: [event.ErrNotFound]
// for no claim, [event.ErrConflict] when the lease has run out and the event has
// gone on; then nothing is changed, and the error says who has it.
func (r *Router) CompleteClaim(ctx context.Context, id, by string, followUps []event.Message) (event.Record, error) {
	return r.concludeClaim(ctx, id, by, event.Answer{Outcome: event.Done, FollowUps: followUps})
}

// FailClaim says that a claimed event could not be handled: RETRY as the policy
// says, or ERROR `rejected`.
func (r *Router) FailClaim(ctx context.Context, id, by string, f event.ClaimFailure) (event.Record, error) {
	a := event.Answer{Outcome: event.Never, Reason: event.Rejected, Detail: f.Detail[:min(len(f.Detail), event.MaxDetail)]}
	if f.Retry {
		a.Outcome, a.Reason, a.Delay = event.Again, event.ClaimFailed, f.Delay
	}
	return r.concludeClaim(ctx, id, by, a)
}

func (r *Router) concludeClaim(ctx context.Context, id, by string, a event.Answer) (event.Record, error) {
	if !r.enter() {
		return event.Record{}, event.ErrUnavailable
	}
	defer r.running.Done()
	return r.onClaim(ctx, id, func(rec *event.Record, t *task) error {
		o := &outcome{handler: r.claimHandler(t.delivery.Handler, by), task: t, answer: a, read: rec}
		o.answer.Took = clock().Sub(claimedAt(rec, &t.delivery))
		if err := r.settle([]*outcome{o}, 0); err != nil {
			return err
		}
		return o.Err
	})
}

// claimHandler returns the handler that a claim was made of, in the name of who
// made it; also one that is configured away.
func (r *Router) claimHandler(name, by string) *Handler {
	h := Handler{Name: name, Service: name, Policy: retry.Default()}
	if d := r.dispatcher(name); d != nil {
		h = *d.configured()
	}
	if by != "" {
		h.Service = by
	}
	return &h
}

// ExtendClaim lets a lease run out so long from now, or as configured with 0, and
// returns when that is. The timeline does not mention it.
func (r *Router) ExtendClaim(ctx context.Context, id, by string, lease time.Duration) (until time.Time, err error) {
	err = r.tryClaim(ctx, id, func(rec *event.Record, t *task) error {
		h := r.claimHandler(t.delivery.Handler, by)
		now := clock()
		until = dueTime(now, cmp.Or(lease, max(h.Lease, h.AsyncTimeout, time.Second)))
		err := r.commitOne(ctx, now, newStep(t.event, func(s *event.State) (*event.Effects, error) {
			d, err := held(s, t, rec)
			if err != nil {
				return nil, err
			}
			d.NextAttempt, s.UpdatedBy, s.UpdatedAt = until, h.Service, now
			return nil, nil
		}))
		if err == nil {
			r.leases.extend(leased{seq: t.event.Seq, index: t.index, handler: t.delivery.Handler, until: until})
		}
		return err
	})
	return until, err
}

// ReleaseClaim gives a claimed event back as if it had not been claimed: it is
// due at once and the attempt does not count. One that was pushed stays on
// record, but is not charged.
func (r *Router) ReleaseClaim(ctx context.Context, id, by string) (event.Record, error) {
	return r.onClaim(ctx, id, func(rec *event.Record, t *task) error {
		by := r.claimHandler(t.delivery.Handler, by).Service
		now := clock()
		err := r.commitOne(ctx, now, newStep(t.event, func(s *event.State) (*event.Effects, error) {
			d, err := held(s, t, rec)
			if err != nil {
				return nil, err
			}
			var e event.Entry
			*d, e = released(*d, by, pulled(rec, d), now)
			s.Timeline, s.UpdatedBy, s.UpdatedAt = append(s.Timeline, e), by, now
			return nil, nil
		}))
		if err == nil {
			r.wake([]string{t.delivery.Handler})
		}
		return err
	})
}
