package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// page is how many events are taken up at a time after a crash or a reload.
const page = 256

// recover settles the attempts that were running when eventd last ended. Each
// counts, and is tried again as the policy says.
func (r *Router) recover(ctx context.Context) error {
	total, after := 0, uint64(0)
	for {
		seqs, err := r.store.Inflight(ctx, after, page)
		if err != nil {
			return fmt.Errorf("find interrupted events: %w", err)
		}
		if len(seqs) == 0 {
			break
		}
		after = seqs[len(seqs)-1]
		total += len(seqs)
		if err := r.updateEach(ctx, seqs, r.interrupt); err != nil {
			return fmt.Errorf("settle interrupted events: %w", err)
		}
	}
	if total > 0 {
		r.log.Warn().Int("events", total).Msg("attempts interrupted by the last end are counted and scheduled again")
	}
	return nil
}

// updateEach takes the same kind of step of several events in one commit. One
// that cannot be taken is logged and left.
func (r *Router) updateEach(ctx context.Context, seqs []uint64, step func(*event.Record, *event.State) (*event.Effects, error)) error {
	updates := make([]*event.Update, 0, len(seqs))
	for _, seq := range seqs {
		rec, err := r.store.Get(ctx, seq)
		if err != nil {
			r.log.Error().Err(err).Uint64("seq", seq).Msg("event cannot be taken up")
			continue
		}
		updates = append(updates, &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) { return step(&rec, s) }})
	}
	if err := r.store.Update(ctx, updates...); err != nil {
		return err
	}
	for _, u := range updates {
		if u.Err != nil && !errors.Is(u.Err, event.ErrConflict) {
			r.log.Error().Err(u.Err).Uint64("seq", u.Seq).Msg("event cannot be taken up")
		}
	}
	return nil
}

func (r *Router) interrupt(rec *event.Record, s *event.State) (*event.Effects, error) {
	now, effects := clock(), &event.Effects{}
	s.UpdatedBy, s.UpdatedAt = r.service, now
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if d.Status != event.InProgress {
			continue
		}
		policy := retry.Default()
		if h := r.dispatcher(d.Handler); h != nil {
			policy = h.handler.Policy
		}
		var e event.Entry
		*d, e = interrupted(*d, policy, now, chance())
		s.Timeline = append(s.Timeline, e)
		effects.Outbox = append(effects.Outbox, r.deadLetters(&rec.Event, *d, e.Detail)...)
	}
	return effects, nil
}

// reconcileSoon asks for the events of missing handlers and routes to be looked
// at again.
func (r *Router) reconcileSoon() {
	select {
	case r.reconciled <- struct{}{}:
	default:
	}
}

func (r *Router) reconcileLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.reconciled:
		}
		if err := errors.Join(r.hold(ctx), r.takeUp(ctx)); err != nil && ctx.Err() == nil {
			r.log.Error().Err(err).Msg("events of missing handlers or routes cannot be looked at")
		}
	}
}

// hold parks what waits for handlers that are not configured: ERROR `no_route`.
func (r *Router) hold(ctx context.Context) error {
	for _, name := range r.store.WaitingHandlers() {
		for r.dispatcher(name) == nil && ctx.Err() == nil {
			held, err := r.holdPage(ctx, name)
			if err != nil {
				return err
			}
			if held == 0 {
				break
			}
			r.log.Warn().Str("handler", name).Int("events", held).Msg("handler is not configured any more: its events are held as ERROR no_route")
		}
	}
	return nil
}

// endOfTime is later than anything that can be scheduled.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (r *Router) holdPage(ctx context.Context, handler string) (int, error) {
	list, _, err := r.store.Due(ctx, event.DueQuery{Handler: handler, Now: endOfTime, Limit: page, Bytes: readyBytes})
	if err != nil || len(list) == 0 {
		return 0, err
	}
	updates := make([]*event.Update, len(list))
	for i := range list {
		updates[i] = r.holdUpdate(&list[i])
	}
	if err := r.store.Update(ctx, updates...); err != nil {
		return 0, err
	}
	for _, u := range updates {
		if u.Err == nil {
			return len(list), nil
		}
	}
	return 0, updates[0].Err
}

func (r *Router) holdUpdate(x *event.Due) *event.Update {
	t := &task{event: x.Event, index: x.Index, delivery: x.Delivery}
	return &event.Update{Seq: x.Event.Seq, Step: func(s *event.State) (*event.Effects, error) {
		d, err := current(s, t, event.Unprocessed, event.Retry)
		if err != nil {
			return nil, err
		}
		var e event.Entry
		now := clock()
		*d, e = park(*d, event.Error, event.NoRoute, "handler "+d.Handler+" is not configured", now)
		s.Timeline = append(s.Timeline, e)
		s.UpdatedBy, s.UpdatedAt = r.service, now
		return &event.Effects{Outbox: r.deadLetters(x.Event, *d, e.Detail)}, nil
	}}
}

// takeUp routes the events that no route took when they came, or whose handler
// was gone, once the configuration has a place for them.
func (r *Router) takeUp(ctx context.Context) error {
	after, total := uint64(0), 0
	for ctx.Err() == nil {
		seqs, err := r.store.Parked(ctx, event.Error, after, page)
		if err != nil {
			return err
		}
		if len(seqs) == 0 {
			break
		}
		after = seqs[len(seqs)-1]
		n, err := r.takeUpPage(ctx, seqs)
		if err != nil {
			return err
		}
		total += n
	}
	if total > 0 {
		r.log.Info().Int("events", total).Msg("events that had no route are taken up again")
	}
	return nil
}

func (r *Router) takeUpPage(ctx context.Context, seqs []uint64) (int, error) {
	var updates []*event.Update
	handlers := map[string]bool{}
	for _, seq := range seqs {
		rec, err := r.store.Get(ctx, seq)
		if err != nil || !unrouted(&rec) {
			continue
		}
		targets, err := r.reroute(ctx, &rec)
		if err != nil || len(targets) == 0 {
			continue
		}
		for _, t := range targets {
			handlers[t.handler] = true
		}
		updates = append(updates, &event.Update{Seq: seq, Step: func(s *event.State) (*event.Effects, error) {
			return nil, r.resume(s, targets)
		}})
	}
	if len(updates) == 0 {
		return 0, nil
	}
	if err := r.store.Update(ctx, updates...); err != nil {
		return 0, err
	}
	for name := range handlers {
		if d := r.dispatcher(name); d != nil {
			d.due()
		}
	}
	return len(updates), nil
}

// unrouted reports whether an event waits for a route.
func unrouted(rec *event.Record) bool {
	if len(rec.Deliveries) == 0 {
		return rec.Reason == event.NoRoute
	}
	return slices.ContainsFunc(rec.Deliveries, heldDelivery)
}

func heldDelivery(d event.Delivery) bool { return d.Status == event.Error && d.Reason == event.NoRoute }

// reroute returns the handlers that the routes give an event now.
func (r *Router) reroute(ctx context.Context, rec *event.Record) ([]target, error) {
	payload, err := r.store.Payload(ctx, rec.Seq)
	if err != nil {
		return nil, err
	}
	return r.live.Load().match(&event.Message{Event: rec.Event, Payload: payload}), nil
}

// resume makes an event's held deliveries due. A delivery whose handler is back
// goes there; the others are replaced by what the routes say now and the event
// does not have yet.
func (r *Router) resume(s *event.State, targets []target) error {
	if len(s.Deliveries) == 0 && s.Status != event.Error {
		return event.ErrConflict
	}
	now := clock()
	s.UpdatedBy, s.UpdatedAt = r.service, now
	const detail = "the configuration routes it now"
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if !heldDelivery(*d) {
			continue
		}
		if r.dispatcher(d.Handler) == nil {
			t, ok := unused(s, targets)
			if !ok {
				continue
			}
			d.Handler, d.Route = t.handler, t.route
		}
		var e event.Entry
		*d, e = revive(*d, detail, now)
		s.Timeline = append(s.Timeline, e)
	}
	if len(s.Deliveries) > 0 {
		return nil
	}
	for _, t := range targets {
		d, e := revive(event.Delivery{Handler: t.handler, Route: t.route, Generation: -1}, detail, now)
		s.Deliveries, s.Timeline = append(s.Deliveries, d), append(s.Timeline, e)
	}
	return nil
}

// unused returns the first target whose handler the event has no delivery to.
func unused(s *event.State, targets []target) (target, bool) {
	for _, t := range targets {
		if !slices.ContainsFunc(s.Deliveries, func(d event.Delivery) bool { return d.Handler == t.handler }) {
			return t, true
		}
	}
	return target{}, false
}
