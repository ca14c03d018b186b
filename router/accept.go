package router

import (
	"context"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Accept routes and stores messages in one transaction and answers for each
// whether it was new. After it returns nil every message is on disk; after an
// error none is known to be. [event.ErrUnavailable]: eventd is stopping.
func (r *Router) Accept(ctx context.Context, messages []event.Message) ([]event.Receipt, error) {
	r.mu.RLock()
	if r.stopping {
		r.mu.RUnlock()
		return nil, event.ErrUnavailable
	}
	r.running.Add(1)
	r.mu.RUnlock()
	defer r.running.Done()

	now := clock()
	plans := make([]*plan, len(messages))
	admissions := make([]*event.Admission, len(messages))
	for i := range messages {
		m := &messages[i]
		if err := r.complete(ctx, m, now); err != nil {
			r.withdraw(plans[:i])
			return nil, err
		}
		plans[i] = r.plan(m, now)
		admissions[i] = &plans[i].Admission
	}
	if err := r.store.Accept(ctx, admissions); err != nil {
		r.withdraw(plans)
		return nil, fmt.Errorf("store %d events: %w", len(messages), err)
	}
	receipts := make([]event.Receipt, len(plans))
	for i, p := range plans {
		receipts[i] = event.Receipt{Table: p.Event.Table, ID: p.Event.ID, Duplicate: p.Duplicate}
		r.accepted(p, now)
	}
	return receipts, nil
}

// complete fills in what a message did not say.
func (r *Router) complete(ctx context.Context, m *event.Message, now time.Time) error {
	if m.CreatedAt.IsZero() {
		m.CreatedAt = now
	}
	m.CreatedAt = m.CreatedAt.UTC().Truncate(time.Microsecond)
	if m.CreatedBy == "" {
		m.CreatedBy = r.service
	}
	if m.CorrelationID == "" && m.Table == event.Response {
		return r.correlate(ctx, m)
	}
	if m.CorrelationID == "" {
		m.CorrelationID = m.ID
	}
	return nil
}

// correlate gives a response the correlation of the event it answers: the one
// with the same id that was sent out, or came in.
func (r *Router) correlate(ctx context.Context, m *event.Message) error {
	records, err := r.store.Find(ctx, m.ID)
	if err != nil {
		return fmt.Errorf("find what %s answers: %w", m.ID, err)
	}
	m.CorrelationID = m.ID
	for i := range records {
		if records[i].Table == event.Response {
			continue
		}
		m.CorrelationID = records[i].CorrelationID
		if m.CausationID == "" {
			m.CausationID = records[i].ID
		}
		if records[i].Table == event.Request {
			return nil
		}
	}
	return nil
}

// plan is an event on its way into the store, with the slots that were kept
// for it.
type plan struct {
	event.Admission
	own      event.Event   // Admission.Event: a copy, as the original would keep its whole batch in memory
	reserved []*dispatcher // by delivery; nil where no slot is kept
}

// plan decides where a message goes. Where a handler is idle its slot is kept
// and the first attempt is counted with the very commit that stores the event.
func (r *Router) plan(m *event.Message, now time.Time) *plan {
	p := &plan{own: m.Event}
	p.Event, p.Payload = &p.own, m.Payload
	p.State.UpdatedBy, p.State.UpdatedAt = m.CreatedBy, m.CreatedAt
	if m.Problem != "" {
		r.parkNew(p, m.Problem, m.Detail, now)
		return p
	}
	targets := r.live.Load().match(m)
	if len(targets) == 0 {
		r.parkNew(p, event.NoRoute, "no route matches message_type "+m.MessageType, now)
		return p
	}
	for _, t := range targets {
		r.addDelivery(p, t, now)
	}
	return p
}

func (r *Router) addDelivery(p *plan, t target, now time.Time) {
	due := p.Event.CreatedAt
	if p.Event.DeliverAt.After(now) {
		due = dueTime(p.Event.DeliverAt, 0)
	}
	d := event.Delivery{Handler: t.handler, Route: t.route, Status: event.Unprocessed, NextAttempt: due}
	var kept *dispatcher
	if h := r.dispatcher(t.handler); h != nil && !due.After(now) && !expired(p.Event, now) && h.reserve() {
		var e event.Entry
		kept = h
		d, e = begin(d, now)
		p.State.Timeline = append(p.State.Timeline, e)
		p.State.UpdatedBy, p.State.UpdatedAt = h.configured().Service, now
	}
	p.State.Deliveries = append(p.State.Deliveries, d)
	p.reserved = append(p.reserved, kept)
}

// parkNew stores an event that goes nowhere as ERROR.
func (r *Router) parkNew(p *plan, why event.Reason, detail string, now time.Time) {
	p.State.Status, p.State.Reason = event.Error, why
	p.State.UpdatedBy, p.State.UpdatedAt = r.service, now
	e := event.Entry{At: now, Status: event.Error, Reason: why, Detail: detail}
	p.State.Timeline = append(p.State.Timeline, e)
	p.Outbox = r.deadLetters(p.Event, event.Delivery{Status: event.Error, Reason: why}, detail)
}

// withdraw gives back the slots of events that were not stored.
func (r *Router) withdraw(plans []*plan) {
	for _, p := range plans {
		for _, d := range p.reserved {
			if d != nil {
				d.release()
			}
		}
	}
}

// accepted goes on with an event that is on disk now.
func (r *Router) accepted(p *plan, now time.Time) {
	e := p.Event
	r.observer.EventReceived(e.Source, e.MessageType)
	if p.Duplicate {
		r.observer.EventDuplicate(e.Source)
		r.withdraw([]*plan{p})
		return
	}
	r.log.Debug().Str("event_id", e.ID).Stringer("table", e.Table).Str("message_type", e.MessageType).
		Stringer("status", planStatus(p)).Msg("event accepted")
	if len(p.State.Deliveries) == 0 {
		r.observer.EventEnded(e.MessageType, now.Sub(e.CreatedAt))
	}
	for i := range p.State.Deliveries {
		t := &task{event: e, payload: p.Payload, index: i, delivery: p.State.Deliveries[i]}
		if kept := p.reserved[i]; kept != nil {
			kept.run(t)
			continue
		}
		if d := r.dispatcher(t.delivery.Handler); d != nil {
			d.offer(t)
		} else {
			r.reconcileSoon() // its handler was configured away while it was stored
		}
	}
}

func planStatus(p *plan) event.Status {
	s := p.State
	s.Derive()
	return s.Status
}
