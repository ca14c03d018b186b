package storage

import (
	"context"
	"fmt"
	"slices"

	"github.com/eventd-io/eventd/event"
)

// Update takes steps of events in one transaction and returns once they are on
// disk. What became of each is in its Err; the error returned is about all of
// them, as in [DB.Accept].
func (db *DB) Update(ctx context.Context, updates ...*event.Update) error {
	return db.do(ctx, 0, func(t *transaction) error {
		for _, u := range updates {
			if err := t.update(u); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *transaction) update(u *event.Update) error {
	b, err := t.of(u.Seq)
	if err != nil {
		u.Err = err
		return nil
	}
	s, err := b.state(u.Seq, t.db.names)
	if err != nil {
		u.Err = fmt.Errorf("event %d: %w", u.Seq, ErrQuarantined)
		return t.quarantine(u.Seq, err)
	}
	status, old := s.Status, slices.Clone(s.Deliveries)
	effects, err := u.Step(&s.State)
	if err == nil {
		err = checkSteps(old, s.Deliveries)
	}
	if err != nil {
		u.Err = fmt.Errorf("event %d: %w", u.Seq, err)
		return nil
	}
	s.Derive()
	if err := t.reindexAll(u.Seq, old, s.Deliveries); err != nil {
		return err
	}
	if err := t.putState(b, u.Seq, status, s); err != nil {
		return err
	}
	return t.apply(b, u.Seq, effects)
}

func checkSteps(old, now []event.Delivery) error {
	if len(now) < len(old) {
		return fmt.Errorf("%d of %d deliveries went missing: %w", len(old)-len(now), len(old), event.ErrConflict)
	}
	for i := range old {
		if from, to := old[i].Status, now[i].Status; from != to && !event.CanStep(from, to) {
			return fmt.Errorf("%s does not lead to %s: %w", from, to, event.ErrConflict)
		}
	}
	return nil
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
		if err := t.reindex(seq, i, was, &now[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) apply(b *segmentBuckets, seq uint64, e *event.Effects) error {
	if e == nil {
		return nil
	}
	heads, _, err := encodeHeads(e.FollowUps)
	if err != nil {
		return err
	}
	if err := t.admitAll(e.FollowUps, heads); err != nil {
		return err
	}
	if err := t.addBodies(b, seq, e.Sent); err != nil {
		return err
	}
	return t.addOutbox(seq, e.Outbox)
}
