package router

import (
	"context"
	"fmt"

	"github.com/eventd-io/eventd/event"
)

// Redrive makes an event due again with a new budget of attempts. Of a fan-out
// event those deliveries are redriven that are not COMPLETED, or all when all
// are; an event that no route took is routed anew. With a handler named in the
// order, the event goes there instead; with a payload, that goes out from now on and the one
// so far is kept. With Of it is about that delivery alone, whatever the others are
// and also when it is COMPLETED. Errors: [event.ErrNotFound] for an unknown event,
// handler or delivery, [event.ErrConflict] while it is still on its way.
func (r *Router) Redrive(ctx context.Context, seq uint64, o event.RedriveOrder) (event.Record, error) {
	if o.Handler != "" && r.dispatcher(o.Handler) == nil {
		return event.Record{}, fmt.Errorf("handler %q: %w", o.Handler, event.ErrNotFound)
	}
	rec, err := r.store.Get(ctx, seq)
	if err != nil {
		return rec, err
	}
	decided, err := r.targets(context.WithoutCancel(ctx), &rec, &o)
	if err == nil {
		err = r.unfit(context.WithoutCancel(ctx), &rec, &o, &decided)
	}
	if err != nil {
		return rec, err
	}
	return r.change(ctx, &rec.Event, len(o.Payload), decided.recalls(&rec.Event), func(s *event.State) (*event.Effects, error) {
		effects := decided.effects(s, clock())
		if row := edited(&rec.Event, &o); row != nil {
			if effects == nil {
				effects = &event.Effects{}
			}
			effects.Payload = row
		}
		return effects, redrive(s, o, decided.targets)
	})
}

// targets returns where an event goes that no route took so far; none for one
// that has deliveries, or is given a handler.
func (r *Router) targets(ctx context.Context, rec *event.Record, o *event.RedriveOrder) (d decision, err error) {
	switch {
	case len(rec.Deliveries) > 0 || o.Handler != "":
		d.targets, err = r.refused(ctx, rec, o)
		return d, err
	case rec.Status == event.Completed && len(rec.Deliveries) == 0:
		return d, fmt.Errorf("it was decoded as another event, which is the one to redrive: %w", event.ErrConflict)
	case unverified(rec):
		return d, fmt.Errorf("its signature was not right, or it was cancelled and that is not known any more, so it is redriven only to a handler that is named: %w", event.ErrConflict)
	case o.Payload != nil:
		d = r.live.Load().match(&event.Message{Event: rec.Event, Payload: o.Payload}, r.newMemory(ctx))
	default:
		d, err = r.reroute(ctx, rec, r.newMemory(ctx))
	}
	if err == nil && len(d.targets) == 0 {
		err = fmt.Errorf("no route matches message_type %q: %w", rec.MessageType, event.ErrConflict)
	}
	return d, err
}

// edited returns the payload row that an order adds, nil for none.
func edited(e *event.Event, o *event.RedriveOrder) *event.Payload {
	if o.Payload == nil {
		return nil
	}
	return &event.Payload{
		SourceService: o.By, TargetService: e.TargetService, Body: o.Payload,
		ContentType: e.ContentType, CreatedBy: o.By, CreatedAt: clock(),
	}
}

// change takes a step of an event that a person asked for and lets its handlers
// know. bytes and recalls are as in [event.Update].
func (r *Router) change(ctx context.Context, e *event.Event, bytes int, recalls []string, change func(*event.State) (*event.Effects, error)) (event.Record, error) {
	var due []string
	x := newStep(e, func(s *event.State) (*event.Effects, error) {
		effects, err := change(s)
		due = unprocessed(s)
		return effects, err
	})
	x.Bytes, x.Recalls = bytes, recalls
	if err := r.commitOne(ctx, clock(), x); err != nil {
		return event.Record{}, err
	}
	r.wake(due)
	return r.store.Get(context.WithoutCancel(ctx), e.Seq)
}

// unprocessed returns the handlers whose turn it is.
func unprocessed(s *event.State) (handlers []string) {
	for i := range s.Deliveries {
		if s.Deliveries[i].Status == event.Unprocessed {
			handlers = append(handlers, s.Deliveries[i].Handler)
		}
	}
	return handlers
}

// wake lets handlers know that something of theirs was made due. What is due
// for one that is not configured is held.
func (r *Router) wake(handlers []string) {
	for _, name := range handlers {
		if d := r.dispatcher(name); d != nil {
			d.due()
		} else {
			r.reconcileSoon()
		}
	}
}

// redrive changes the state of an event as the order asks.
func redrive(s *event.State, o event.RedriveOrder, targets []target) error {
	if err := redrivable(s, &o); err != nil {
		return err
	}
	now := clock()
	s.UpdatedBy, s.UpdatedAt = o.By, now
	if len(s.Deliveries) == 0 {
		if o.Handler != "" {
			targets = []target{{handler: o.Handler, route: "redrive"}}
		}
		for _, t := range targets {
			d := t.lead(event.Delivery{})
			d, e := revive(d, audit(&o, &d), now)
			s.Deliveries, s.Timeline = append(s.Deliveries, d), append(s.Timeline, e)
		}
		return nil
	}
	was, revived := s.Status, false
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if !revives(was, d, &o) {
			continue
		}
		findOrder(d, targets)
		detail := audit(&o, d)
		if o.Handler != "" {
			d.Handler = o.Handler
		}
		var e event.Entry
		*d, e = revive(*d, detail, now)
		s.Timeline, revived = append(s.Timeline, e), true
	}
	if !revived {
		return fmt.Errorf("no delivery to %s is to be redriven: %w", o.Of, event.ErrConflict)
	}
	return nil
}

// revives reports whether an order is about a delivery of an event with the given
// status: about those that are not COMPLETED, or all when all are.
func revives(s event.Status, d *event.Delivery, o *event.RedriveOrder) bool {
	return (o.Of == "" || d.Handler == o.Of) && (d.Status != event.Completed || s == event.Completed || named(o))
}

// redrivable reports what stands in the way of a redrive.
func redrivable(s *event.State, o *event.RedriveOrder) error {
	if named(o) {
		return deliveryRedrivable(s, o)
	}
	if onItsWay(s.Status) {
		return fmt.Errorf("it is %s, still on its way: %w", s.Status, event.ErrConflict)
	}
	return nil
}

// deliveryRedrivable reports what stands in the way of a redrive of one delivery.
func deliveryRedrivable(s *event.State, o *event.RedriveOrder) error {
	found := false
	for i := range s.Deliveries {
		switch d := &s.Deliveries[i]; {
		case d.Handler == o.Of && onItsWay(d.Status):
			return fmt.Errorf("the delivery to %s is %s, still on its way: %w", o.Of, d.Status, event.ErrConflict)
		case d.Handler == o.Of:
			found = true
		case d.Handler == o.Handler:
			return fmt.Errorf("it has a delivery to %s already: %w", o.Handler, event.ErrConflict)
		case o.Payload != nil && !d.Status.Final(): // all deliveries send out the same
			return fmt.Errorf("another payload would go to %s as well, whose delivery is %s: %w", d.Handler, d.Status, event.ErrConflict)
		}
	}
	if !found {
		return noDelivery(o.Of)
	}
	return nil
}

func noDelivery(handler string) error {
	return fmt.Errorf("delivery to %q: %w", handler, event.ErrNotFound)
}

// named reports whether a person means one delivery: a job takes those that are
// to be redriven.
func named(o *event.RedriveOrder) bool { return o.Of != "" && o.Job == 0 }

func onItsWay(s event.Status) bool { return s == event.InProgress || s == event.Unprocessed }

// audit says who had a delivery redriven, why, and what is other than before.
func audit(o *event.RedriveOrder, was *event.Delivery) string {
	text := fmt.Sprintf("generation %d", was.Generation+1)
	if o.By != "" {
		text += " by " + o.By
	}
	if o.Job != 0 {
		text += fmt.Sprintf(", redrive %d", o.Job)
	}
	if o.Handler != "" && was.Handler != "" && o.Handler != was.Handler {
		text += ", instead of to " + was.Handler
	}
	if o.Payload != nil {
		text += ", with another payload"
	}
	if o.Detail != "" {
		text += ": " + o.Detail
	}
	return text[:min(len(text), event.MaxDetail)]
}

// Cancel gives an event up, or one of its deliveries: FAILED `cancelled`. One that
// has FAILED and keeps others of its order key waiting lets them go on. Errors:
// [event.ErrNotFound]; [event.ErrConflict] while an attempt is running or when it
// is COMPLETED or FAILED already.
func (r *Router) Cancel(ctx context.Context, seq uint64, o event.CancelOrder) (event.Record, error) {
	rec, err := r.store.Get(ctx, seq)
	if err != nil {
		return rec, err
	}
	return r.change(ctx, &rec.Event, 0, nil, func(s *event.State) (*event.Effects, error) {
		if err := cancellable(s, &o); err != nil {
			return nil, err
		}
		return r.cancel(&rec.Event, s, &o), nil
	})
}

// cancellable reports what stands in the way of a cancellation.
func cancellable(s *event.State, o *event.CancelOrder) error {
	open, found := false, o.Of == ""
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if o.Of != "" && d.Handler != o.Of {
			continue
		}
		if running(*d) {
			return fmt.Errorf("an attempt is running: %w", event.ErrConflict)
		}
		found, open = true, open || givable(d)
	}
	if len(s.Deliveries) == 0 {
		open = s.Status != event.Completed && s.Status != event.Failed
	}
	switch {
	case !found:
		return noDelivery(o.Of)
	case o.Of != "" && !open:
		return fmt.Errorf("the delivery to %s has ended: %w", o.Of, event.ErrConflict)
	case !open:
		return fmt.Errorf("it is %s: %w", s.Status, event.ErrConflict)
	}
	return nil
}

// givable reports whether a delivery can be given up.
func givable(d *event.Delivery) bool {
	return d.Status != event.Completed && d.Status != event.Failed || blocking(d)
}

func running(d event.Delivery) bool { return d.Status == event.InProgress }

// blocking reports whether a delivery was given up and keeps others waiting.
func blocking(d *event.Delivery) bool { return d.Status == event.Failed && d.Holds() }

func (r *Router) cancel(ev *event.Event, s *event.State, o *event.CancelOrder) *event.Effects {
	now, effects := clock(), &event.Effects{}
	s.UpdatedBy, s.UpdatedAt = o.By, now
	if len(s.Deliveries) == 0 {
		var e event.Entry
		d := event.Delivery{}
		d, e = park(d, event.Failed, event.Cancelled, o.Detail, now)
		s.Status, s.Reason, s.Timeline = event.Failed, event.Cancelled, append(s.Timeline, e)
		effects.Outbox = r.deadLetters(ev, d, o.Detail)
	}
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if !givable(d) || o.Of != "" && d.Handler != o.Of {
			continue
		}
		failed := d.Status == event.Failed // which keeps nobody waiting any more
		var e event.Entry
		*d, e = park(*d, event.Failed, event.Cancelled, o.Detail, now)
		if s.Timeline = append(s.Timeline, e); failed {
			continue // and is a dead letter already
		}
		effects.Outbox = append(effects.Outbox, r.deadLetters(ev, *d, o.Detail)...)
	}
	return effects
}

// SetHandlerPaused pauses a handler, over restarts, until it is resumed. Attempts
// that run are finished; its events wait and nothing is counted. Errors:
// [event.ErrNotFound] for an unknown handler.
func (r *Router) SetHandlerPaused(ctx context.Context, name string, paused bool) error {
	d := r.dispatcher(name)
	if d == nil {
		return fmt.Errorf("handler %q: %w", name, event.ErrNotFound)
	}
	reason := ""
	if paused {
		reason = "manual"
	}
	defer r.jobs.signal()
	return d.setPaused(ctx, reason)
}
