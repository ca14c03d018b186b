package router

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
)

// claimID names one attempt of one delivery, and when it began: an attempt that
// was released is counted anew with the same number. In front stands whose claim
// it is, so that none acts on another store.
func (r *Router) claimID(t *task, at time.Time) string {
	id := fmt.Sprintf("%d-%d-%d-%d-%d", t.event.Seq, t.index, t.delivery.Generation, t.delivery.Attempts, at.UnixMicro())
	if r.instance != "" {
		id = r.instance + "." + id
	}
	return id
}

// parseClaimID returns the parts of one.
func (r *Router) parseClaimID(id string) (seq uint64, t *task, at time.Time, ok bool) {
	if instance, rest, dotted := strings.Cut(id, "."); dotted {
		if instance != r.instance {
			return 0, nil, at, false
		}
		id = rest
	}
	var n [5]int
	parts := strings.Split(id, "-")
	if len(parts) != len(n) {
		return 0, nil, at, false
	}
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(parts[i]); err != nil || n[i] < 0 {
			return 0, nil, at, false
		}
	}
	t = &task{index: n[1]}
	t.delivery.Generation, t.delivery.Attempts = n[2], n[3]
	return uint64(n[0]), t, time.UnixMicro(int64(n[4])), true // not negative
}

// claimed returns what a claim stands for, if it still holds.
func (r *Router) claimed(ctx context.Context, id string) (*event.Record, *task, error) {
	seq, t, at, ok := r.parseClaimID(id)
	if !ok {
		return nil, nil, fmt.Errorf("claim %q: %w", id, event.ErrNotFound)
	}
	rec, err := r.store.Get(ctx, seq)
	if err != nil {
		return nil, nil, fmt.Errorf("claim %q: %w", id, err)
	}
	t.event = &rec.Event
	d, err := current(&rec.State, t, event.InProgress)
	if err != nil || !r.leasable(d) || !claimedAt(&rec, d).Equal(at) {
		return nil, nil, fmt.Errorf("the claim is over: %s: %w", holder(&rec, t.index), event.ErrConflict)
	}
	t.delivery = *d
	return &rec, t, nil
}

// holder says who has an event now, or what became of it.
func holder(rec *event.Record, index int) string {
	if index >= len(rec.Deliveries) {
		return "the event has no such delivery"
	}
	d := &rec.Deliveries[index]
	if d.Status == event.InProgress && d.NextAttempt.IsZero() {
		return fmt.Sprintf("attempt %d is with %s", d.Attempts, rec.UpdatedBy)
	}
	if d.Status == event.InProgress {
		return fmt.Sprintf("attempt %d is with %s until %s", d.Attempts, rec.UpdatedBy, d.NextAttempt.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("it is %s after attempt %d, by %s", d.Status, d.Attempts, rec.UpdatedBy)
}

// claimedAt returns when the attempt of a claim began.
func claimedAt(rec *event.Record, d *event.Delivery) time.Time {
	if e := beginning(rec, d); e != nil {
		return e.At
	}
	return rec.UpdatedAt
}

// pulled reports whether the attempt of a claim was claimed and not pushed, however
// its handler is configured by now: only then the timeline says by whom.
func pulled(rec *event.Record, d *event.Delivery) bool {
	e := beginning(rec, d)
	return e != nil && e.Detail != ""
}

// beginning returns the entry of the timeline with which the attempt of a claim
// began; nil when it is not known.
func beginning(rec *event.Record, d *event.Delivery) *event.Entry {
	for i := len(rec.Timeline) - 1; i >= 0; i-- {
		e := &rec.Timeline[i]
		if e.Status == event.InProgress && e.Handler == d.Handler && e.Attempt == d.Attempts && e.Code == 0 { // with one it is an answer
			return e
		}
	}
	return nil
}

// errMoved: something happened to the event between its reading and the step.
var errMoved = fmt.Errorf("the event has changed meanwhile: %w", event.ErrConflict)

// held returns the delivery of a claim, if nothing has happened to the event
// since it was read. A step cannot look when its claim began, as the timeline may
// lie outside the state. But a claim that came in the place of another one has
// moved the event's time on.
func held(s *event.State, t *task, read *event.Record) (*event.Delivery, error) {
	if t.index >= len(s.Deliveries) || s.Deliveries[t.index] != t.delivery ||
		s.UpdatedBy != read.UpdatedBy || !s.UpdatedAt.Equal(read.UpdatedAt) {
		return nil, errMoved
	}
	return &s.Deliveries[t.index], nil
}

// claimTries bounds how often a step is taken anew because others took one in
// between: each time, one of them has got on.
const claimTries = 100

// tryClaim takes a step of what a claim stands for. When something happened to
// the event in between it is read again: the claim may be over, or the step may
// have been another handler's of a fan-out.
func (r *Router) tryClaim(ctx context.Context, id string, take func(*event.Record, *task) error) error {
	for range claimTries {
		rec, t, err := r.claimed(ctx, id)
		if err != nil {
			return err
		}
		if err = take(rec, t); !errors.Is(err, errMoved) {
			return err
		}
	}
	return fmt.Errorf("claim %q: %w", id, errMoved)
}

// onClaim is tryClaim for a step that ends the claim. It returns the event as it
// is then.
func (r *Router) onClaim(ctx context.Context, id string, take func(*event.Record, *task) error) (event.Record, error) {
	var of *task
	err := r.tryClaim(ctx, id, func(rec *event.Record, t *task) error {
		of = t
		return take(rec, t)
	})
	if err != nil {
		return event.Record{}, err
	}
	r.leases.drop(of.event.Seq, of.index)
	r.concluded(of.delivery.Handler)
	return r.store.Get(context.WithoutCancel(ctx), of.event.Seq)
}
