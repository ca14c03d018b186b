package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Accept stores events in one transaction and returns once they are on disk.
// An event that is there already is not stored again: see [event.Admission].
// Times are kept to the microsecond. Errors: [ErrBroken] and [ErrClosed]; then nothing
// is known to be stored.
func (db *DB) Accept(ctx context.Context, admissions []*event.Admission) error {
	heads, weight, err := encodeHeads(admissions)
	if err != nil {
		return err
	}
	return db.do(ctx, weight, func(t *transaction) error { return t.admitAll(admissions, heads) })
}

// encodeHeads does outside the writer what need not be done in it. It returns
// the heads and the number of bytes to be written.
func encodeHeads(admissions []*event.Admission) (heads [][]byte, weight int, err error) {
	heads = make([][]byte, len(admissions))
	for i, a := range admissions {
		if heads[i], err = encodeHead(a.Event); err != nil {
			return nil, 0, fmt.Errorf("encode event %s: %w", a.Event.ID, err)
		}
		weight += len(a.Payload) + len(heads[i])
	}
	return heads, weight, nil
}

func (t *transaction) admitAll(admissions []*event.Admission, heads [][]byte) error {
	for i, a := range admissions {
		if err := t.admit(a, heads[i]); err != nil {
			return err
		}
	}
	return nil
}

// admit stores one event.
func (t *transaction) admit(a *event.Admission, head []byte) error {
	hash := hashID([]byte(a.Event.ID))
	if first := t.duplicateOf(a.Event, hash); first != 0 {
		a.Duplicate, a.Event.Seq = true, first
		return t.noteDuplicate(first)
	}
	b, err := t.room()
	if err != nil {
		return err
	}
	seq := t.db.nextSeq
	t.db.nextSeq++
	a.Event.Seq = seq
	t.heads.add(seq, head)
	t.bodies.add(seq, a.Payload)
	offset := uint32(seq - b.first) //nolint:gosec // below segmentEvents
	if _, correlation, _, err := headIDs(head); err == nil {
		b.open.Load().addHead([]byte(a.Event.ID), correlation, offset)
	}
	b.info.events++
	b.info.last = max(b.info.last, micros(a.Event.CreatedAt))
	return t.putNew(b, a)
}

func (t *transaction) putNew(b *segmentBuckets, a *event.Admission) error {
	seq := a.Event.Seq
	s := &state{State: a.State, table: a.Event.Table, created: fromMicros(micros(a.Event.CreatedAt))}
	s.Derive()
	for i := range s.Deliveries {
		if err := t.reindex(seq, i, nil, &s.Deliveries[i]); err != nil {
			return err
		}
	}
	if err := t.addOutbox(seq, a.Outbox); err != nil {
		return err
	}
	return t.putState(b, seq, 0, s)
}

// duplicateOf returns the seq of the same event stored before, 0 for none: the
// same place in a stream however long ago, or the same key within the window.
func (t *transaction) duplicateOf(e *event.Event, hash uint64) uint64 {
	var seqs []uint64
	for _, s := range t.db.segmentList() {
		if !s.mayHold(hash) {
			continue
		}
		b, err := t.segment(s)
		if err != nil {
			continue
		}
		// A damaged index is reported by the check of the store; new events
		// must not wait for it.
		seqs, _ = b.lookup(hash, seqs[:0])
		for _, seq := range seqs {
			if first, err := t.event(b, seq); err == nil && t.same(first, e) {
				return seq
			}
		}
	}
	return 0
}

func (t *transaction) same(first, e *event.Event) bool {
	if first.Key() != e.Key() {
		return false
	}
	if !e.Position.IsZero() && first.Position.Equal(e.Position) {
		return true
	}
	return e.CreatedAt.Sub(first.CreatedAt) < t.db.options.DedupeWindow
}

// maxDuplicateNotes bounds what a flood of duplicates adds to a timeline.
const maxDuplicateNotes = 5

func (t *transaction) noteDuplicate(seq uint64) error {
	b, err := t.of(seq)
	if err != nil {
		return err
	}
	s, err := b.state(seq, t.db.names)
	if err != nil {
		return t.quarantine(seq, err)
	}
	notes := 0
	for i := range s.Timeline {
		if s.Timeline[i].Reason == event.Duplicate {
			notes++
		}
	}
	if notes >= maxDuplicateNotes {
		return nil
	}
	detail := "arrived again and was not stored twice"
	if notes == maxDuplicateNotes-1 {
		detail += "; later ones are counted but no longer noted"
	}
	s.Timeline = append(s.Timeline, event.Entry{
		At: t.now.Truncate(time.Microsecond), Status: s.Status, Reason: event.Duplicate, Detail: detail,
	})
	return t.putState(b, seq, s.Status, s)
}
