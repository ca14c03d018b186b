package router

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/eventd-io/eventd/event"
)

// beginUpdate counts an attempt, or gives up a delivery whose time is over.
func (r *Router) beginUpdate(t *task, service string, now time.Time) *event.Update {
	return &event.Update{Seq: t.event.Seq, Step: func(s *event.State) (*event.Effects, error) {
		d, err := current(s, t, event.Unprocessed, event.Retry)
		if err != nil {
			return nil, err
		}
		if x := t.event.Expires; !x.IsZero() && now.After(x) {
			return r.expire(s, t, now), nil
		}
		if d.Status == event.Retry {
			r.observer.RetryLateness(now.Sub(d.NextAttempt))
		}
		var e event.Entry
		*d, e = begin(*d, now)
		t.delivery = *d
		s.Timeline = append(s.Timeline, e)
		s.UpdatedBy, s.UpdatedAt = service, now
		return nil, nil
	}}
}

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

// run makes the attempt of a task that is IN_PROGRESS. Its slot is taken.
func (d *dispatcher) run(t *task) {
	d.mu.Lock()
	h := d.handler
	d.mu.Unlock()
	d.router.running.Go(func() { d.attempt(h, t) })
}

func (d *dispatcher) attempt(h *Handler, t *task) {
	a := h.Deliverer.Deliver(d.router.attempts, &event.Attempt{
		Event: t.event, Payload: t.payload, Handler: h.Name, Route: t.delivery.Route,
		Number: t.delivery.Attempts, Generation: t.delivery.Generation,
	})
	if a.Rest > 0 {
		d.restUntil(clock().Add(a.Rest))
	}
	if a.Pause {
		d.pauseGone(h)
	}
	d.release()
	d.router.settle(h, t, &a)
	if d.gone() {
		d.router.reconcileSoon() // it may have become RETRY, for nobody
	}
}

// pauseGone pauses a handler that says it is gone, until a person resumes it.
func (d *dispatcher) pauseGone(h *Handler) {
	d.setPaused(string(event.Gone))
	d.router.log.Error().Str("handler", h.Name).Msg("handler says it is gone (410) and is paused until it is resumed")
	if err := d.router.store.SetPaused(context.WithoutCancel(d.router.attempts), "handler", h.Name, string(event.Gone)); err != nil {
		d.router.log.Error().Err(err).Str("handler", h.Name).Msg("pause will not outlast a restart")
	}
}

// settle stores what came of an attempt, with its follow-ups, and goes on with them.
func (r *Router) settle(h *Handler, t *task, a *event.Answer) {
	now, chance := clock(), chance()
	next, entry := settle(t.delivery, h.Policy, a, now, chance)
	effects := &event.Effects{Outbox: r.deadLetters(t.event, next, entry.Detail), Sent: a.Sent}
	for i := range effects.Sent {
		effects.Sent[i].CreatedBy, effects.Sent[i].CreatedAt = h.Service, now
	}
	plans := r.followUps(h, t, a, now)
	for _, p := range plans {
		effects.FollowUps = append(effects.FollowUps, &p.Admission)
	}
	ended := false
	u := &event.Update{Seq: t.event.Seq, Step: func(s *event.State) (*event.Effects, error) {
		d, err := current(s, t, event.InProgress)
		if err != nil {
			return nil, err
		}
		*d = next
		s.Timeline = append(s.Timeline, entry)
		s.UpdatedBy, s.UpdatedAt = h.Service, now
		s.Derive()
		ended = s.Status.Final()
		return effects, nil
	}}
	if err := errors.Join(r.store.Update(context.WithoutCancel(r.attempts), u), u.Err); err != nil {
		r.withdraw(plans)
		r.log.Error().Err(err).Str("event_id", t.event.ID).Str("handler", h.Name).Msg("outcome of an attempt is not stored")
		return
	}
	r.settled(h, t, next, entry, ended, now)
	for _, p := range plans {
		r.accepted(p, now)
	}
}

func (r *Router) settled(h *Handler, t *task, d event.Delivery, e event.Entry, ended bool, now time.Time) {
	r.observer.DeliveryEnded(h.Name, d.Status, d.Reason, e.Duration)
	if ended {
		r.observer.EventEnded(t.event.MessageType, now.Sub(t.event.CreatedAt))
	}
	if d.Status == event.Retry {
		r.alarm.Set(h.Name, d.NextAttempt)
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
	if a.Outcome != event.Done {
		return nil
	}
	plans := make([]*plan, 0, len(a.FollowUps))
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
		plans = append(plans, r.plan(m, now))
	}
	return plans
}

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
		"eventd-detail":       headerText(detail, maxDeadLetterDetail),
		"eventd-attempts":     strconv.Itoa(d.Attempts),
		"eventd-status":       d.Status.String(),
		"eventd-event-id":     headerText(e.ID, maxDeadLetterDetail),
		"eventd-table":        e.Table.String(),
		"eventd-message-type": headerText(e.MessageType, maxDeadLetterDetail),
		"Nats-Msg-Id": event.DeriveID("dead letter", e.Table.String(), e.SourceService, e.ID,
			d.Handler, strconv.Itoa(d.Generation), string(d.Reason)),
	}
	for name, value := range map[string]string{
		"eventd-handler": d.Handler, "eventd-source-service": e.SourceService,
		"eventd-correlation-id": e.CorrelationID, "Content-Type": e.ContentType,
	} {
		if value != "" {
			h[name] = headerText(value, maxDeadLetterDetail)
		}
	}
	return []event.Publication{{Subject: subject, Header: h}}
}

// headerText makes any text fit for a header: one line of printable ASCII and
// at most so many bytes.
func headerText(s string, limit int) string {
	b := make([]byte, 0, min(len(s), limit))
	for i := 0; i < len(s) && len(b) < limit; i++ {
		c := s[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		b = append(b, c)
	}
	return string(b)
}
