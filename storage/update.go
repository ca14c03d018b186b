package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Update takes steps of events in one transaction, or in several when the disk is
// nearly full, and returns once they are on disk. What became of each is in its Err;
// the error returned is about all of them, as in [DB.Accept]: where a part of them is
// stored, it is the Err of the others.
func (db *DB) Update(ctx context.Context, updates ...*event.Update) error {
	return db.UpdateWithin(ctx, 0, updates...)
}

// UpdateWithin is [DB.Update] for steps that may wait so long for other work to
// share a commit with. They do not wait once any comes that does not.
func (db *DB) UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error {
	return inParts(updates, func(part []*event.Update) error {
		err := db.updateOnce(ctx, patience, part)
		patience = 0
		return err
	})
}

// inParts takes steps in halves of halves where they are too many at once. After an
// error none is stored.
func inParts(updates []*event.Update, take func([]*event.Update) error) error {
	err := take(updates)
	if !errors.Is(err, event.ErrTooMuch) || len(updates) < 2 {
		return err
	}
	first, rest := updates[:len(updates)/2], updates[len(updates)/2:]
	if err := inParts(first, take); err != nil {
		return err
	}
	if err := inParts(rest, take); err != nil {
		for _, u := range rest {
			u.Err = err
		}
	}
	return nil
}

func (db *DB) updateOnce(ctx context.Context, patience time.Duration, updates []*event.Update) error {
	op := &operation{patience: patience, apply: func(t *transaction) error {
		for _, u := range updates {
			if err := t.update(u); err != nil {
				return err
			}
		}
		return nil
	}}
	op.weigh(updates)
	return db.hand(ctx, op)
}

func (t *transaction) update(u *event.Update) error {
	t.leaveUntold()
	if err := t.take(u); err != nil {
		return err
	}
	return t.tell(u)
}

func (t *transaction) take(u *event.Update) error {
	b, err := t.of(u.Seq)
	if err != nil {
		u.Err = err
		return nil
	}
	s, err := b.state(u.Seq, t.db.names)
	if errors.Is(err, event.ErrNotFound) {
		u.Err = err // removed by retention
		return nil
	}
	if err != nil {
		u.Err = fmt.Errorf("event %d: %w", u.Seq, ErrQuarantined)
		return t.quarantine(u.Seq, err)
	}
	old := event.State{Status: s.Status, Reason: s.Reason, Deliveries: slices.Clone(s.Deliveries)}
	effects, heads, err := step(u, &old, &s.State)
	if err == nil && old.Status.Final() && !s.Status.Final() {
		err = t.revivable(b, u.Seq, s.PayloadRow, effects)
	}
	if err == nil {
		err = t.outOfTurn(u.Seq, old.Deliveries, s.Deliveries)
	}
	if err != nil {
		u.Err = fmt.Errorf("event %d: %w", u.Seq, err)
		return nil
	}
	u.Err = nil
	if err := t.rememberLate(b, u.Seq, &s.State, effects.Remember); err != nil {
		return err
	}
	if err := t.await(b, u.Seq, s, effects.Await); err != nil {
		return err
	}
	if err := t.reindexAll(u.Seq, old.Deliveries, s.Deliveries); err != nil {
		return err
	}
	if err := t.replacePayload(b, u.Seq, s, effects.Payload); err != nil {
		return err
	}
	b.summary.addDeliveries(old.Deliveries, s.Deliveries)
	if err := t.putState(b, u.Seq, old.Status, s); err != nil {
		return err
	}
	return t.apply(b, u.Seq, s.PayloadRow, effects, heads)
}

// step takes the step and checks all that comes of it, before anything is
// written. old is the state before it.
func step(u *event.Update, old, s *event.State) (effects *event.Effects, heads [][]byte, err error) {
	if effects, err = u.Step(s); err != nil {
		return nil, nil, err
	}
	if effects == nil {
		effects = &event.Effects{}
	}
	if err := checkStep(old, s); err != nil {
		return nil, nil, err
	}
	heads, _, err = encodeHeads(effects.FollowUps)
	return effects, heads, err
}

// checkStep derives the status of an event after a step and reports a step that
// is not legal.
func checkStep(old, s *event.State) error {
	if len(s.Deliveries) < len(old.Deliveries) {
		return fmt.Errorf("%d of %d deliveries went missing: %w", len(old.Deliveries)-len(s.Deliveries), len(old.Deliveries), event.ErrConflict)
	}
	if err := checkDeliveries(s.Deliveries); err != nil {
		return fmt.Errorf("%w: %w", err, event.ErrConflict)
	}
	for i := range old.Deliveries {
		if from, to := old.Deliveries[i].Status, s.Deliveries[i].Status; from != to && !event.CanStep(from, to) {
			return illegal(from, to)
		}
	}
	s.Derive()
	if len(old.Deliveries) == 0 && s.Status != old.Status && !event.CanStep(old.Status, s.Status) && !decoded(old, s) {
		return illegal(old.Status, s.Status)
	}
	return nil
}

// decoded reports whether what could not be decoded has turned out to be another event.
func decoded(old, s *event.State) bool {
	return old.Status == event.Error && old.Reason == event.Undecodable && s.Status == event.Completed
}

// revivable reports an event that has ended and cannot be handled again: what
// goes out with it is gone, and the step brings nothing in its place.
func (t *transaction) revivable(b *segmentBuckets, seq uint64, row int, e *event.Effects) error {
	if e.Payload != nil || t.fresh(seq) {
		return nil
	}
	if _, err := b.outgoing(seq, row); errors.Is(err, errRemoved) {
		return fmt.Errorf("%w: %w", event.ErrPayloadRemoved, event.ErrConflict)
	}
	return nil
}

func illegal(from, to event.Status) error {
	return fmt.Errorf("%s does not lead to %s: %w", from, to, event.ErrConflict)
}

func (t *transaction) reindexAll(seq uint64, old, now []event.Delivery) error {
	for i := range now {
		var was *event.Delivery
		if i < len(old) {
			was = &old[i]
		}
		if was != nil && *was == now[i] {
			continue
		}
		if was != nil && was.Status == event.Completed {
			if err := t.unawait(seq, i, was); err != nil {
				return err
			}
		}
		if err := t.reindex(seq, i, was, &now[i]); err != nil {
			return err
		}
	}
	return nil
}

// apply stores what comes with a step. row is the payload that goes out.
func (t *transaction) apply(b *segmentBuckets, seq uint64, row int, e *event.Effects, heads [][]byte) error {
	if err := t.admitAll(e.FollowUps, heads); err != nil {
		return err
	}
	if err := t.addBodies(b, seq, row, e.Sent); err != nil {
		return err
	}
	return t.addOutbox(seq, row, e.Outbox)
}
