package router

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// outcome is what came of an attempt, until it is stored.
type outcome struct {
	handler *Handler
	task    *task
	answer  event.Answer

	until time.Time     // the lease that ran out; one that was extended since has not
	read  *event.Record // of a claim: what must not have changed since; nil for no claim
	*step
	next  event.Delivery
	entry event.Entry
	plans []*plan // of the follow-ups
	heir  *heir   // whose turn it is then; nil for whoever it is
}

// conclude hands over the outcome of an attempt. The slot is free for the next
// one while it is stored: outcomes share a commit with those that come meanwhile.
func (d *dispatcher) conclude(o *outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcomes = append(d.outcomes, o)
	d.lastSlow = o.answer.Took >= slowAttempt
	d.gathering.came(len(d.outcomes))
	d.settling++
	if !d.settler {
		d.settler = true
		d.router.running.Go(d.settle)
	}
}

// settle stores outcomes until there are no more.
func (d *dispatcher) settle() {
	var list []*outcome
	for {
		d.mu.Lock()
		d.settling -= len(list)
		d.freed(time.Now())
		list, d.outcomes = d.outcomes, nil
		d.settler = len(list) > 0
		patience := d.patience(list)
		d.mu.Unlock()
		if len(list) == 0 {
			return
		}
		d.router.logUnsettled(list, d.router.settle(list, patience))
		d.gather(list)
	}
}

// settlePatience is how long outcomes, and counts of attempts, wait for a commit to share
// while nothing waits for them, or for nothing that is quick. A crash in that time makes
// the attempts of outcomes count as interrupted.
const settlePatience = 5 * time.Millisecond

// slowAttempt is how long an attempt takes beside which the time that its outcome
// waits is nothing.
const slowAttempt = 100 * settlePatience

// patience returns how long outcomes may wait for a commit to share: not at all when
// they carry follow-ups, or when their room is needed soon and attempts do not take
// long. Where attempts wait for slots anyway, all of them may. The caller holds mu.
func (d *dispatcher) patience(list []*outcome) time.Duration {
	now := time.Now()
	switch {
	case d.router.quitting():
		return 0
	case d.fed(now):
		return settlePatience
	case slices.ContainsFunc(list, carries), !d.lastSlow && !d.roomy(now):
		return 0
	}
	return settlePatience
}

// carries reports whether an outcome has follow-ups, which are on their way.
func carries(o *outcome) bool { return len(o.answer.FollowUps) > 0 }

// fed reports whether the attempts that wait for slots will do for a while. The caller
// holds mu.
func (d *dispatcher) fed(now time.Time) bool {
	return len(d.ahead) > 0 && 8*len(d.ahead) >= d.flow.ahead(now)
}

// roomy reports whether room that is given back a little later is missed by nobody:
// most of the slots are free, or half of what may be counted ahead of them. The caller
// holds mu.
func (d *dispatcher) roomy(now time.Time) bool {
	if d.backlog {
		return false
	}
	ahead := d.flow.ahead(now)
	return 4*d.taken() <= d.handler.Concurrency || ahead > 0 && 2*d.taken() <= d.handler.Concurrency+ahead
}

// settle stores what came of attempts, with their follow-ups, in one commit,
// and goes on with them. What became of each is in its Err; after an error none
// is known to be stored.
func (r *Router) settle(list []*outcome, patience time.Duration) error {
	if len(list) == 0 {
		return nil
	}
	now := clock()
	steps := make([]*step, len(list))
	for i, o := range list {
		r.decide(o, now)
		steps[i] = o.step
		r.bequeath(o, now)
		if patience > 0 && o.heir != nil && o.heir.dispatcher.waited() {
			patience = 0 // the next of an order key waits for it
		}
	}
	err := r.commitWithin(context.WithoutCancel(r.attempts), patience, now, steps...)
	for _, o := range list {
		failed := err
		if failed == nil {
			failed = o.Err
		}
		r.inherit(o.heir, failed, now)
		if failed != nil {
			r.withdraw(o.plans)
			continue
		}
		r.settled(o)
		for _, p := range o.plans {
			r.accepted(p, now)
		}
		r.takeUpHeld(o.step)
	}
	return err
}

func (r *Router) logUnsettled(list []*outcome, err error) {
	for _, o := range list {
		if failed := cmp.Or(err, o.Err); failed != nil && !o.preceded() {
			r.log.Error().Err(failed).Str("event_id", o.task.event.ID).Str("handler", o.handler.Name).Msg("outcome of an attempt is not stored")
		}
	}
}

// decide plans the step that an answer makes.
func (r *Router) decide(o *outcome, now time.Time) {
	h, t, a := o.handler, o.task, &o.answer
	o.next, o.entry = settle(t.delivery, h.Policy, a, now, chance())
	o.next = notBeyond(o.next, t.event)
	o.plans = r.followUps(h, t, a, now)
	effects := &event.Effects{Outbox: r.deadLetters(t.event, o.next, o.entry.Detail), Sent: a.Sent}
	for i := range effects.Sent {
		effects.Sent[i].CreatedBy, effects.Sent[i].CreatedAt = h.Service, now
	}
	if h.ResponseWithin > 0 && t.event.Table == event.Request && a.Outcome == event.Done {
		effects.Await = &event.Await{Delivery: t.index, Sent: now}
	}
	size := 0
	var recalls []string
	for _, p := range o.plans {
		effects.FollowUps = append(effects.FollowUps, &p.Admission)
		size += len(p.Payload) + followUpBytes
		if p.Remember != nil {
			recalls = append(recalls, p.Event.CorrelationID)
		}
	}
	o.step = newStep(t.event, func(s *event.State) (*event.Effects, error) {
		d, err := o.delivery(s)
		if err != nil {
			return nil, err
		}
		if a.Outcome == event.Taken && d.NextAttempt.After(o.next.NextAttempt) {
			o.next.NextAttempt = d.NextAttempt // it was extended before the answer came
		}
		*d = o.next
		s.Timeline = append(s.Timeline, o.entry)
		s.UpdatedBy, s.UpdatedAt = h.Service, now
		return effects, nil
	})
	o.step.Bytes, o.step.Recalls = size, recalls
}

// delivery returns what the outcome is of, if it is still so.
func (o *outcome) delivery(s *event.State) (*event.Delivery, error) {
	if o.read != nil {
		return held(s, o.task, o.read)
	}
	d, err := current(s, o.task, event.InProgress)
	if err == nil && !o.until.IsZero() && !d.NextAttempt.Equal(o.until) {
		err = event.ErrConflict // extended, or claimed anew
	}
	return d, err
}

// followUpBytes is about how much the store keeps of a follow-up event beside
// its payload.
const followUpBytes = 1 << 10
