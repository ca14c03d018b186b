package router

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// reconcileSoon asks for the events of missing handlers and routes to be looked
// at again.
func (r *Router) reconcileSoon() {
	select {
	case r.unsettled <- struct{}{}:
	default:
	}
}

func (r *Router) reconcileLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.unsettled:
		}
		if err := errors.Join(r.hold(ctx), r.takeUp(ctx)); err != nil && ctx.Err() == nil {
			r.log.Error().Err(err).Msg("events of missing handlers or routes cannot be looked at")
		}
	}
}

// hold parks what waits for handlers that are not configured: ERROR `no_route`.
func (r *Router) hold(ctx context.Context) error {
	var errs []error
	for _, name := range r.store.WaitingHandlers() {
		held, err := r.holdAll(ctx, name)
		if held > 0 {
			r.log.Warn().Str("handler", name).Int("events", held).Msg("handler is not configured any more: its events are held as ERROR no_route")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endOfTime is later than anything that can be scheduled.
var endOfTime = time.UnixMicro(math.MaxInt64)

// holdAll parks what waits for one handler, as long as it is not configured.
func (r *Router) holdAll(ctx context.Context, name string) (held int, err error) {
	for r.dispatcher(name) == nil {
		list, next, err := r.store.Due(ctx, event.DueQuery{Handler: name, Now: endOfTime, Limit: page, Bytes: heldBytes})
		if err != nil {
			return held, err
		}
		n, err := r.holdPage(ctx, list)
		held += n
		if err != nil {
			return held, err
		}
		if next.IsZero() {
			n, err := r.holdLined(ctx, name)
			return held + n, err
		}
	}
	return held, nil
}

func (r *Router) holdPage(ctx context.Context, list []event.Due) (held int, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	now := clock()
	steps := make([]*step, len(list))
	for i := range list {
		steps[i] = r.holdStep(&list[i], now)
	}
	if err := r.commit(ctx, now, steps...); err != nil {
		return 0, err
	}
	for _, x := range steps {
		if x.Err == nil {
			held++
		} else if !errors.Is(x.Err, event.ErrConflict) { // with a conflict it has gone on
			err = x.Err
		}
	}
	return held, err
}

func (r *Router) holdStep(x *event.Due, now time.Time) *step {
	t := &task{event: x.Event, index: x.Index, delivery: x.Delivery}
	return newStep(x.Event, func(s *event.State) (*event.Effects, error) {
		d, err := current(s, t, event.Unprocessed, event.Retry)
		if err != nil {
			return nil, err
		}
		var e event.Entry
		*d, e = park(*d, event.Error, event.NoRoute, "handler "+d.Handler+" is not configured", now)
		s.Timeline = append(s.Timeline, e)
		s.UpdatedBy, s.UpdatedAt = r.service, now
		return &event.Effects{Outbox: r.deadLetters(x.Event, *d, e.Detail)}, nil
	})
}

// takeUp routes the events that no route took when they came, that could not be
// decoded, or whose handler was gone, once the configuration has a place for them.
// One delivery of a fan-out may be held while another has FAILED, and with it the
// event. It takes them a page at a time, so that what comes in goes on; a start looks
// again at what a stop or a crash has left.
func (r *Router) takeUp(ctx context.Context) error {
	total, looked := 0, 0
	for _, status := range []event.Status{event.Error, event.Failed} {
		for after := uint64(0); ctx.Err() == nil; {
			seqs, err := r.store.Parked(ctx, status, after, page)
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
			if looked += len(seqs); looked/progressEvery > (looked-len(seqs))/progressEvery {
				r.log.Info().Int("looked_at", looked).Int("events", total).Msg("looking for events that have a route now")
			}
		}
	}
	if total > 0 {
		r.log.Info().Int("events", total).Msg("events that had no route, or could not be decoded, are taken up again")
	}
	return nil
}

// progressEvery is after how many events the log says how far it has come.
const progressEvery = 10_000

// takeUpHeld looks at an event that has just ended with deliveries that wait
// for a route: while it was on its way a reload passed it by.
func (r *Router) takeUpHeld(x *step) {
	if x.Err != nil || !x.held {
		return
	}
	if _, err := r.takeUpPage(context.WithoutCancel(r.attempts), []uint64{x.Seq}); err != nil {
		r.log.Error().Err(err).Str("event_id", x.event.ID).Msg("event cannot be taken up")
	}
}

// takeUpPage makes due what there is a place for of some events.
func (r *Router) takeUpPage(ctx context.Context, seqs []uint64) (taken int, err error) {
	for len(seqs) > 0 && err == nil {
		var n int
		n, seqs, err = r.takeUpSome(ctx, seqs)
		taken += n
	}
	return taken, err
}

// takeUpSome makes due what there is a place for of some events, in one commit, as many
// as their payloads may be in memory. The rest is next.
func (r *Router) takeUpSome(ctx context.Context, seqs []uint64) (taken int, rest []uint64, err error) {
	var steps []*step
	var again []decodedAgain
	var due []string
	ctx = context.WithoutCancel(ctx) // what is read in part is routed wrongly
	w := r.newMemory(ctx)
	for bytes := 0; len(seqs) > 0 && bytes < heldBytes; seqs = seqs[1:] {
		rec, err := r.store.Get(ctx, seqs[0])
		if err != nil {
			continue
		}
		if undecoded(&rec.State) {
			if x, ok := r.decodeAgain(ctx, &rec, w); ok {
				steps, again = append(steps, x.step), append(again, x)
				bytes += len(x.plan.Payload)
			}
			continue
		}
		if x := r.takeUpStep(ctx, &rec, w, &due); x != nil {
			steps = append(steps, x)
		}
	}
	if len(steps) == 0 {
		return 0, seqs, nil
	}
	if err := r.commit(ctx, clock(), steps...); err != nil {
		return 0, seqs, err
	}
	r.wake(slices.Compact(slices.Sorted(slices.Values(due))))
	r.begun(again)
	r.logFailed(steps)
	for _, x := range steps {
		if x.Err == nil {
			taken++
		}
	}
	return taken, seqs, nil
}

// takeUpStep plans the step that routes an event which had no route; nil for none. It
// adds the handlers that it makes something due for.
func (r *Router) takeUpStep(ctx context.Context, rec *event.Record, w *memory, due *[]string) *step {
	if !unrouted(&rec.State) {
		return nil
	}
	decided, err := r.reroute(ctx, rec, w)
	if err != nil {
		return nil
	}
	x := newStep(&rec.Event, func(s *event.State) (*event.Effects, error) {
		effects := decided.effects(s, clock())
		letters, resumed := r.resume(&rec.Event, s, decided.targets)
		if !resumed {
			return nil, event.ErrConflict
		}
		if len(letters) > 0 { // of a first delivery, which has effects
			effects.Outbox = letters
		}
		*due = append(*due, unprocessed(s)...)
		return effects, nil
	})
	x.Recalls = decided.recalls(&rec.Event)
	return x
}

// unrouted reports whether an event, or one of its deliveries, waits for a route.
func unrouted(s *event.State) bool {
	if len(s.Deliveries) == 0 {
		return s.Status == event.Error && s.Reason == event.NoRoute
	}
	return slices.ContainsFunc(s.Deliveries, heldDelivery)
}

func heldDelivery(d event.Delivery) bool { return d.Status == event.Error && d.Reason == event.NoRoute }

// reroute returns what the routes make of an event now.
func (r *Router) reroute(ctx context.Context, rec *event.Record, w *memory) (d decision, err error) {
	payload, err := r.store.Payload(ctx, rec.Seq)
	if err != nil {
		return d, err
	}
	return r.live.Load().match(&event.Message{Event: rec.Event, Payload: payload}, w), nil
}

// resume makes due what an event has waiting for a route, if there is one now,
// and reports whether there is. A delivery whose handler is back goes there; the
// others go where the routes lead now and the event does not go yet. Those whose
// payload does not fit become ERROR `invalid`, and dead letters.
func (r *Router) resume(e *event.Event, s *event.State, targets []target) (letters []event.Publication, resumed bool) {
	if !unrouted(s) {
		return nil, false
	}
	now := clock()
	if len(s.Deliveries) == 0 {
		for _, t := range targets {
			if t.flaw != "" {
				letters = append(letters, r.refuse(e, s, t, now)...)
				resumed = true
				continue
			}
			s.Deliveries = append(s.Deliveries, t.lead(event.Delivery{Status: event.Error, Reason: event.NoRoute, Generation: -1}))
		}
	}
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if !heldDelivery(*d) || !r.place(s, d, targets) {
			continue
		}
		var entry event.Entry
		*d, entry = revive(*d, "the configuration routes it now", now)
		if e.DeliverAt.After(now) {
			d.NextAttempt = dueTime(e.DeliverAt, 0)
			*d = notBeyond(*d, e)
		}
		s.Timeline = append(s.Timeline, entry)
		resumed = true
	}
	s.UpdatedBy, s.UpdatedAt = r.service, now
	return letters, resumed
}

// place finds a handler for a delivery that is held.
func (r *Router) place(s *event.State, d *event.Delivery, targets []target) bool {
	if r.dispatcher(d.Handler) != nil {
		return true
	}
	for _, t := range targets {
		if t.flaw == "" && !slices.ContainsFunc(s.Deliveries, func(x event.Delivery) bool { return x.Handler == t.handler }) {
			*d = t.lead(*d)
			return true

		}
	}
	return false
}
