package router

import (
	"context"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// step is one change of an event, and what it led to once it is stored.
type step struct {
	event.Update
	event *event.Event
	ended bool // the event has ended with it
	held  bool // and has deliveries that wait for a route
}

// newStep returns a step that makes a change, which runs in the store's writer.
func newStep(e *event.Event, change func(*event.State) (*event.Effects, error)) *step {
	x := &step{event: e}
	x.Seq = e.Seq
	x.Step = func(s *event.State) (*event.Effects, error) {
		was := s.Status.Final()
		effects, err := change(s)
		if err != nil {
			return nil, err
		}
		s.Derive()
		x.ended = !was && s.Status.Final()
		x.held = x.ended && slices.ContainsFunc(s.Deliveries, heldDelivery)
		return effects, nil
	}
	return x
}

// commit stores steps in one transaction and tells which events ended. What
// became of each is in its Err; after an error none is known to be stored.
func (r *Router) commit(ctx context.Context, now time.Time, steps ...*step) error {
	return r.commitWithin(ctx, 0, now, steps...)
}

// commitWithin is commit that may wait so long for other work to share a commit
// with.
func (r *Router) commitWithin(ctx context.Context, patience time.Duration, now time.Time, steps ...*step) error {
	updates := make([]*event.Update, len(steps))
	for i, x := range steps {
		updates[i] = &x.Update
	}
	if err := r.store.UpdateWithin(ctx, patience, updates...); err != nil {
		return err
	}
	r.wakeTurns(steps)
	for _, x := range steps {
		if x.Err == nil && x.ended {
			r.observer.EventEnded(x.event.MessageType, now.Sub(x.event.CreatedAt))
		}
	}
	return nil
}

// commitOne is commit for one step; the error is also the step's own.
func (r *Router) commitOne(ctx context.Context, now time.Time, x *step) error {
	if err := r.commit(ctx, now, x); err != nil {
		return err
	}
	return x.Err
}
