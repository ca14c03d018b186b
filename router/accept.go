package router

import (
	"context"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Accept routes and stores messages in one transaction and answers for each
// whether it was new. Those of a source may take several: see [pace].
// After it returns nil every message is on disk; after an error none is known
// to be. [event.ErrUnavailable]: eventd is stopping.
func (r *Router) Accept(ctx context.Context, messages []event.Message) ([]event.Receipt, error) {
	if !r.enter() {
		return nil, event.ErrUnavailable
	}
	defer r.running.Done()

	receipts := make([]event.Receipt, 0, len(messages))
	var c pace
	for len(messages) > 0 {
		now := clock()
		plans, space, err := r.planSome(ctx, messages, &c, now)
		if err != nil {
			return nil, err
		}
		if err := r.admit(ctx, plans); err != nil {
			return nil, err
		}
		for _, p := range plans {
			receipts = append(receipts, event.Receipt{Table: p.Event.Table, ID: p.Event.ID, Duplicate: p.Duplicate})
			r.accepted(p, now)
		}
		messages = messages[len(plans):]
		r.await(space, &c)
	}
	return receipts, nil
}

// enter counts work that a stop waits for, which the caller ends with
// running.Done. It returns false when the router stops.
func (r *Router) enter() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.stopping {
		return false
	}
	r.running.Add(1)
	return true
}

// planSome plans messages until one had better wait for space: see [pace].
func (r *Router) planSome(ctx context.Context, messages []event.Message, c *pace, now time.Time) ([]*plan, <-chan struct{}, error) {
	plans := make([]*plan, 0, len(messages))
	w := r.newMemory(ctx)
	for i := range messages {
		m := &messages[i]
		if err := r.complete(ctx, m, now); err != nil {
			r.withdraw(plans)
			return nil, nil, err
		}
		p := r.plan(m, w, now)
		if ctx.Err() != nil && w.err != nil { // it was routed without what it asked for
			r.withdraw(append(plans, p))
			return nil, nil, ctx.Err()
		}
		if space := c.space(r, p, now); space != nil {
			return plans, space, nil
		}
		plans = append(plans, p)
	}
	return plans, nil, nil
}

// admit stores what is planned.
func (r *Router) admit(ctx context.Context, plans []*plan) error {
	if len(plans) == 0 {
		return nil
	}
	admissions := make([]*event.Admission, len(plans))
	for i, p := range plans {
		admissions[i] = &p.Admission
	}
	if err := r.store.Accept(ctx, admissions); err != nil {
		r.withdraw(plans)
		return fmt.Errorf("store %d events: %w", len(plans), err)
	}
	return nil
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
	slotless bool          // none is to be kept
	single   struct {      // space for the delivery that most events have
		delivery [1]event.Delivery
		entry    [1]event.Entry
		reserved [1]*dispatcher
	}
}

// plan decides where a message goes. Where a handler is idle its slot is kept
// and the first attempt is counted with the very commit that stores the event.
func (r *Router) plan(m *event.Message, w *memory, now time.Time) *plan {
	return r.planAs(&plan{}, m, w, now)
}

func (r *Router) planAs(p *plan, m *event.Message, w *memory, now time.Time) *plan {
	p.own = m.Event
	p.Event, p.Payload, p.Mark = &p.own, m.Payload, m.Mark
	p.State.UpdatedBy, p.State.UpdatedAt = m.CreatedBy, m.CreatedAt
	if m.Problem != "" {
		r.parkNew(p, m.Problem, m.Detail, now)
		return p
	}
	d := r.live.Load().match(m, w)
	if len(d.targets) == 0 {
		r.parkNew(p, event.NoRoute, "no route matches message_type "+m.MessageType, now)
		return p
	}
	p.Remember = d.amend()
	p.own.Expires = d.expires.of(&p.own)
	p.State.Deliveries, p.reserved = p.single.delivery[:0], p.single.reserved[:0]
	p.State.Timeline = append(p.single.entry[:0], d.noted(event.Unprocessed, now)...)
	for _, t := range d.targets {
		if t.flaw != "" {
			p.Outbox = append(p.Outbox, r.refuse(p.Event, &p.State, t, now)...)
			p.reserved = append(p.reserved, nil)
		} else {
			r.addDelivery(p, t, now)
		}
	}
	return p
}

func (r *Router) addDelivery(p *plan, t target, now time.Time) {
	due := now // one time for all that is stored together: they wait as one, see the index of what is due
	if p.Event.DeliverAt.After(now) {
		due = dueTime(p.Event.DeliverAt, 0)
	}
	d := t.lead(event.Delivery{Status: event.Unprocessed, NextAttempt: due})
	if due.After(now) {
		d = notBeyond(d, p.Event)
	}
	var kept *dispatcher
	if h := r.dispatcher(t.handler); h != nil && !p.slotless && !d.Ordered() && !due.After(now) && !expired(p.Event, now) && h.reserve(len(p.Payload), now) {
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
				d.release(len(p.Payload))
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
	status := planStatus(p)
	r.log.Debug().Str("event_id", e.ID).Stringer("table", e.Table).Str("message_type", e.MessageType).
		Stringer("status", status).Msg("event accepted")
	if status.Final() {
		r.observer.EventEnded(e.MessageType, now.Sub(e.CreatedAt))
	}
	r.goOn(p)
}

// goOn lets the deliveries of a stored event begin, or tells who will.
func (r *Router) goOn(p *plan) {
	for i := range p.State.Deliveries {
		delivery := p.State.Deliveries[i]
		if delivery.Status.Final() {
			continue
		}
		if kept := p.reserved[i]; kept != nil {
			t := &task{event: p.Event, payload: p.Payload, index: i, delivery: delivery, before: uncounted(delivery), began: p.State.UpdatedAt}
			if !kept.begin(t) {
				r.handBack([]*task{t}, stopping)
			}
			continue
		}
		if d := r.dispatcher(delivery.Handler); d != nil {
			d.offer(delivery.NextAttempt)
		} else {
			r.reconcileSoon() // its handler was configured away while it was stored
		}
	}
}

// uncounted returns the delivery of a new event as it was before its first
// attempt was counted, at the time when it was due.
func uncounted(d event.Delivery) event.Delivery {
	return event.Delivery{Handler: d.Handler, Route: d.Route, Status: event.Unprocessed, NextAttempt: d.FirstAttempt}
}

func planStatus(p *plan) event.Status {
	s := p.State
	s.Derive()
	return s.Status
}
