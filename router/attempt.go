package router

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/eventd-io/eventd/event"
)

// beginStep counts an attempt, or gives up a delivery whose time is over.
func (r *Router) beginStep(t *task, service string, now time.Time) *step {
	return newStep(t.event, func(s *event.State) (*event.Effects, error) {
		d, err := current(s, t, event.Unprocessed, event.Retry)
		if err != nil {
			return nil, err
		}
		if expired(t.event, now) {
			return r.expire(s, t, now), nil
		}
		if d.Status == event.Retry {
			r.observer.RetryLateness(clock().Sub(d.NextAttempt)) // now is when it was asked for
		}
		var e event.Entry
		t.before = *d
		*d, e = begin(*d, now)
		t.delivery, t.began = *d, now
		s.Timeline = append(s.Timeline, e)
		s.UpdatedBy, s.UpdatedAt = service, now
		return nil, nil
	})
}

func expired(e *event.Event, now time.Time) bool { return !e.Expires.IsZero() && now.After(e.Expires) }

// current returns the delivery a task stands for, if it is still where the
// task left it.
func current(s *event.State, t *task, statuses ...event.Status) (*event.Delivery, error) {
	if t.index >= len(s.Deliveries) {
		return nil, event.ErrConflict
	}
	d := &s.Deliveries[t.index]
	if d.Generation != t.delivery.Generation || d.Attempts != t.delivery.Attempts {
		return nil, fmt.Errorf("attempt %d of generation %d is not the current one: %w", t.delivery.Attempts, t.delivery.Generation, event.ErrConflict)
	}
	for _, status := range statuses {
		if d.Status == status {
			return d, nil
		}
	}
	return nil, fmt.Errorf("it is %s: %w", d.Status, event.ErrConflict)
}

func (r *Router) expire(s *event.State, t *task, now time.Time) *event.Effects {
	var e event.Entry
	d := &s.Deliveries[t.index]
	*d, e = park(*d, event.Failed, event.Expired, "expired at "+t.event.Expires.Format(time.RFC3339Nano), now)
	t.delivery = *d
	s.Timeline = append(s.Timeline, e)
	s.UpdatedBy, s.UpdatedAt = r.service, now
	return &event.Effects{Outbox: r.deadLetters(t.event, *d, e.Detail)}
}

// uncountStep takes back an attempt that was counted and not made.
func (r *Router) uncountStep(t *task, why string, now time.Time) *step {
	return newStep(t.event, func(s *event.State) (*event.Effects, error) {
		d, err := current(s, t, event.InProgress)
		if err != nil {
			return nil, err
		}
		*d = t.before
		s.Timeline = append(s.Timeline, event.Entry{
			At: now, Status: d.Status, Attempt: t.delivery.Attempts, Handler: d.Handler, Reason: d.Reason,
			Detail: "not sent and not counted: " + why,
		})
		s.UpdatedBy, s.UpdatedAt = r.service, now
		return nil, nil
	})
}

// work makes attempts, one after the other, as long as there is one for its slot.
func (d *dispatcher) work(h *Handler, t *task) {
	for t != nil {
		a := d.attempt(h, t)
		d.stagger(h, &a)
		h, t = d.next(t)
	}
}

// longestStagger bounds how long a slot is kept.
const longestStagger = time.Second

// stagger keeps a slot for a while whose attempt took long and failed. All slots of a
// handler that hangs would else be free again at the same moment, over and over, and
// the others would wait while they are filled.
func (d *dispatcher) stagger(h *Handler, a *event.Answer) {
	if a.Outcome != event.Again || a.Took < slowAttempt || a.Silent || h.Concurrency == 1 {
		return
	}
	timer := time.NewTimer(time.Duration(chance() * float64(min(a.Took/8, longestStagger))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.router.quit:
	}
}

func (d *dispatcher) attempt(h *Handler, t *task) event.Answer {
	a := h.Deliverer.Deliver(d.router.attempts, &event.Attempt{
		Event: t.event, Payload: t.payload, Handler: h.Name, Route: t.delivery.Route,
		Number: t.delivery.Attempts, Generation: t.delivery.Generation,
		ClaimID: d.claimOf(h, t), Alone: t.delivery.Interruptions > 0,
	})
	if a.Outcome == event.Unsent {
		d.unsent(t)
		return a
	}
	d.heed(t, &a)
	d.conclude(&outcome{handler: h, task: t, answer: a})
	return a
}

// unsent hands back an attempt that has a slot and was not made.
func (d *dispatcher) unsent(t *task) {
	d.mu.Lock()
	d.counting++ // until it is handed back
	d.bytes += len(t.payload)
	d.mu.Unlock()
	d.handBack([]*task{t}, closedOff)
}

// heed takes in what an answer says of the handler. A rest is for all that share
// the answer: the slot of none is to be handed on before it is known.
func (d *dispatcher) heed(t *task, a *event.Answer) {
	d.record(t, a)
	if a.Rest > 0 {
		d.restUntil(clock().Add(a.Rest))
	}
	if a.Pause && !a.Silent {
		d.pauseGone()
	}
}

// pauseGone pauses a handler that says it is gone, until a person resumes it.
func (d *dispatcher) pauseGone() {
	log := d.router.log.With().Str("handler", d.name).Logger()
	log.Error().Msg("handler says it is gone (410) and is paused until it is resumed")
	if err := d.setPaused(d.router.attempts, string(event.Gone)); err != nil {
		log.Error().Err(err).Msg("pause will not outlast a restart")
	}
}

func (r *Router) settled(o *outcome) {
	h, t, d, e := o.handler, o.task, &o.next, &o.entry
	if h.AsyncTimeout > 0 && r.entrust(o) {
		return
	}
	r.observer.DeliveryEnded(h.Name, d.Status, d.Reason, e.Duration)
	if d.Status == event.Retry {
		r.alarm.Set(h.Name, d.NextAttempt)
		if r.dispatcher(h.Name) == nil {
			r.reconcileSoon() // RETRY, for nobody: it was configured away meanwhile
		}
	}
	line := r.lines.Debug()
	switch {
	case d.Status.DeadLetter():
		line = r.lines.Error()
	case d.Status == event.Retry:
		line = r.lines.Warn()
	}
	line.Str("event_id", t.event.ID).Stringer("table", t.event.Table).Str("message_type", t.event.MessageType).
		Str("handler", h.Name).Int("attempt", d.Attempts).Stringer("status", d.Status).
		Str("reason", string(d.Reason)).Dur("took", e.Duration).Msg("attempt ended")
}

// followUps plans the events that came with an answer. They are requests made
// by the handler's service, in the conversation of the event they answer.
func (r *Router) followUps(h *Handler, t *task, a *event.Answer, now time.Time) []*plan {
	if a.Outcome != event.Done || len(a.FollowUps) == 0 {
		return nil
	}
	plans := make([]*plan, 0, len(a.FollowUps))
	w := r.newMemory(context.WithoutCancel(r.attempts))
	for i := range a.FollowUps {
		m := &a.FollowUps[i]
		parent := t.event
		if m.ID == "" {
			m.ID = event.DeriveID(parent.Table.String(), parent.SourceService, parent.ID, h.Name,
				strconv.Itoa(i), strconv.Itoa(t.delivery.Generation))
		}
		m.Table, m.SourceService, m.CreatedBy = event.Request, h.Service, h.Service
		m.CorrelationID, m.CausationID = parent.CorrelationID, parent.ID
		m.CreatedAt, m.Hops = now, parent.Hops+1
		if m.Hops > event.MaxHops {
			m.Problem = event.Loop
			m.Detail = fmt.Sprintf("%d follow-ups in a row", m.Hops)
		}
		plans = append(plans, r.plan(m, w, now))
	}
	return plans
}
