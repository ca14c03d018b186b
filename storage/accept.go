package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Accept stores events in one transaction and returns once they are on disk.
// An event that is there already is not stored again: see [event.Admission].
// Times are kept to the microsecond. The payloads must not change afterwards: the commit
// that brings them into their tables may come later, see [DB.linger]. Errors: [ErrBroken] and [ErrClosed]; then nothing
// is known to be stored. [ErrFull]; then nothing is. An event without table or status is refused with all
// that came with it, and nothing is stored.
func (db *DB) Accept(ctx context.Context, admissions []*event.Admission) error {
	heads, weight, err := encodeHeads(admissions)
	if err != nil {
		return err
	}
	return db.hand(ctx, &operation{
		weight: weight, events: len(admissions), intake: true, recalls: recalled(admissions),
		admissions: admissions, heads: heads,
		apply: func(t *transaction) error { return t.admitAll(admissions, heads) },
	})
}

// encodeHeads does before anything is written what can fail. It returns the
// heads, which lie in one piece of memory, and the number of bytes to be written.
func encodeHeads(admissions []*event.Admission) (heads [][]byte, weight int, err error) {
	if len(admissions) == 0 {
		return nil, 0, nil
	}
	heads = make([][]byte, len(admissions))
	ends := make([]int, len(admissions))
	var written headWriter
	written.Grow(headSpace * len(admissions))
	for i, a := range admissions {
		if err := checkAdmission(a); err != nil {
			return nil, 0, fmt.Errorf("event %s: %w", a.Event.ID, err)
		}
		if err := written.write(a.Event); err != nil {
			return nil, 0, fmt.Errorf("encode event %s: %w", a.Event.ID, err)
		}
		ends[i] = written.Len()
		weight += len(a.Payload)
		if a.Remember != nil {
			weight += documentWeight
		}
	}
	start := 0
	for i, end := range ends {
		heads[i], start = written.Bytes()[start:end:end], end
	}
	return heads, weight + written.Len(), nil
}

// recalled returns the conversations that events remember something of.
func recalled(admissions []*event.Admission) (list []string) {
	for _, a := range admissions {
		if a.Remember != nil {
			list = append(list, a.Event.CorrelationID)
		}
	}
	return list
}

// maxDeliveries is how many deliveries of an event the keys of the indexes can
// tell apart.
const maxDeliveries = 1 << 16

func checkAdmission(a *event.Admission) error {
	if !slices.Contains(event.Tables, a.Event.Table) {
		return fmt.Errorf("%s is no table", a.Event.Table)
	}
	if len(a.State.Deliveries) == 0 && !slices.Contains(event.Statuses, a.State.Status) {
		return fmt.Errorf("%s is no status", a.State.Status)
	}
	if a.Mark != nil {
		if err := checkKey(a.Mark.Schedule); err != nil {
			return fmt.Errorf("schedule: %w", err)
		}
	}
	return checkDeliveries(a.State.Deliveries)
}

func checkDeliveries(list []event.Delivery) error {
	if len(list) > maxDeliveries {
		return fmt.Errorf("%d deliveries, at most %d", len(list), maxDeliveries)
	}
	for i := range list {
		if !slices.Contains(event.Statuses, list[i].Status) {
			return fmt.Errorf("%s is no status of a delivery", list[i].Status)
		}
	}
	return nil
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
	if a.Mark != nil {
		if err := t.putMark(a.Mark); err != nil {
			return err
		}
	}
	hash := hashID([]byte(a.Event.ID))
	if first := t.duplicateOf(a.Event, hash); first != 0 {
		a.Duplicate, a.Event.Seq = true, first
		return t.noteDuplicate(first)
	}
	return t.place(a, head)
}

// place stores one event that is not there yet.
func (t *transaction) place(a *event.Admission, head []byte) error {
	b, err := t.room()
	if err != nil {
		return err
	}
	seq := t.db.nextSeq
	t.db.nextSeq++
	a.Event.Seq = seq
	return t.store(b, seq, head, a)
}

// store writes a new event.
func (t *transaction) store(b *segmentBuckets, seq uint64, head []byte, a *event.Admission) error {
	if err := t.bodies.append(b.payloads, seq, a.Payload); err != nil {
		return err
	}
	return t.storeHead(b, seq, head, a)
}

// storeHead writes a new event but for its payload.
func (t *transaction) storeHead(b *segmentBuckets, seq uint64, head []byte, a *event.Admission) error {
	if err := t.heads.append(b.heads, seq, head); err != nil {
		return err
	}
	offset := uint32(seq - b.first) // below segmentEvents
	if _, correlation, _, err := headIDs(head); err == nil {
		b.open.Load().addHead([]byte(a.Event.ID), correlation, offset)
	}
	b.info.events++
	b.info.last = max(b.info.last, micros(a.Event.CreatedAt))
	if err := t.remember(a.Event, &a.State, a.Remember); err != nil {
		return err
	}
	if err := t.answer(a.Event); err != nil {
		return err
	}
	return t.putNew(b, a)
}

func (t *transaction) putNew(b *segmentBuckets, a *event.Admission) error {
	seq := a.Event.Seq
	s := &state{State: a.State, table: a.Event.Table, created: fromMicros(micros(a.Event.CreatedAt))}
	s.Derive()
	b.summary.addEvent(a.Event, &s.State)
	for i := range s.Deliveries {
		if err := t.reindex(seq, i, nil, &s.Deliveries[i]); err != nil {
			return err
		}
	}
	if err := t.addOutbox(seq, 0, a.Outbox); err != nil {
		return err
	}
	return t.putState(b, seq, 0, s)
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
