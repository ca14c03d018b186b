package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Get returns one event with its whole timeline.
func (db *DB) Get(ctx context.Context, seq uint64) (rec event.Record, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		rec, err = r.record(seq)
		return err
	})
	return rec, err
}

// Payload returns the bytes that go out with an event: those it came with, or
// those that a redrive has put in their place. They are a copy.
// Errors: [ErrQuarantined] when they are damaged, [event.ErrPayloadRemoved] when
// retention took them.
func (db *DB) Payload(ctx context.Context, seq uint64) (body []byte, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b, err := r.of(seq)
		if err != nil {
			return err
		}
		p, err := r.outgoing(b, seq)
		body = append([]byte{}, p...)
		return quarantined(seq, err)
	})
	return body, err
}

// Payloads returns the payload rows of an event, the one it came with first.
// Those whose bytes retention took say so: [event.Payload.Removed].
// [ErrQuarantined]: one of them is damaged; those before it are returned.
func (db *DB) Payloads(ctx context.Context, seq uint64) (rows []event.Payload, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b, err := r.of(seq)
		if err != nil {
			return err
		}
		rows, err = readBodies(b, seq)
		return quarantined(seq, err)
	})
	return rows, err
}

// outgoing returns the payload that goes out with an event. If its state cannot
// tell which that is, none is right.
func (r *snapshot) outgoing(b *segmentBuckets, seq uint64) (p []byte, err error) {
	defer recoverDamage(&err)
	s, err := b.state(seq, r.db.names)
	if err != nil {
		return nil, err
	}
	return b.outgoing(seq, s.PayloadRow)
}

// quarantined names the event whose record turned out to be damaged.
func quarantined(seq uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRemoved):
		return fmt.Errorf("event %d: %w", seq, event.ErrPayloadRemoved)
	}
	return fmt.Errorf("event %d: %w: %w", seq, ErrQuarantined, err)
}

// Find returns the events with the given event id, over all tables, newest
// first, with their timelines.
func (db *DB) Find(ctx context.Context, id string) (list []event.Record, err error) {
	hash := hashID([]byte(id))
	err = db.viewPlaces(ctx, []uint64{hash}, func(r *snapshot, places [][]place) error {
		for _, seq := range r.seqs(places[0], hash) {
			rec, err := r.record(seq)
			if rec.ID == "" {
				rec.ID = id // its head is damaged; the index says it has this id
			}
			if err == nil && rec.ID == id {
				list = append(list, rec)
			}
		}
		return nil
	})
	return list, err
}

// record returns an event with its timeline, [event.ErrNotFound] if there is
// none. One with a damaged record is returned as far as it can be read, as
// ERROR `quarantined`.
func (r *snapshot) record(seq uint64) (rec event.Record, err error) {
	b, err := r.of(seq)
	if err != nil {
		return rec, err
	}
	s := r.state(b, seq)
	if s.spilled > 0 {
		readNotes(b.root, seq, s, r.db.names)
	}
	return event.Record{Event: *r.event(b, seq, s), State: s.State}, nil
}

// state returns the state of an event, one that says so if it is damaged.
func (r *snapshot) state(b *segmentBuckets, seq uint64) *state {
	s, err := b.state(seq, r.db.names)
	if err != nil {
		return damaged(err)
	}
	return s
}

func damaged(err error) *state {
	s := &state{}
	s.damage(err)
	return s
}

// event returns an event. If its head is damaged, what the state knows stands
// for it, and the state says that it is.
func (r *snapshot) event(b *segmentBuckets, seq uint64, s *state) *event.Event {
	e, err := b.event(seq)
	if err != nil {
		e = &event.Event{Seq: seq, Table: s.table, CreatedAt: s.created}
		s.damage(err)
	}
	return e
}

// damage shows an event as quarantined.
func (s *state) damage(err error) {
	s.Status, s.Reason = event.Error, event.Quarantined
	s.Timeline = append(s.Timeline, event.Entry{Status: event.Error, Reason: event.Quarantined, Detail: err.Error()})
}

// correlated returns where the events of a conversation may be found, oldest
// first: those that name it, and the one whose id it is.
func (db *DB) correlated(ctx context.Context, id string) (seqs []uint64, err error) {
	hashes := correlationHashes(id)
	err = db.viewPlaces(ctx, hashes[:], func(r *snapshot, places [][]place) error {
		seqs = append(r.seqs(places[0], hashes[0]), r.seqs(places[1], hashes[1])...)
		return nil
	})
	slices.Sort(seqs)
	return slices.Compact(seqs), err
}

// Counts returns the number of events by table and status: of each, be it 0.
func (db *DB) Counts() event.Counts {
	_ = db.show(context.Background()) // else those of before
	c := event.Counts{}
	for _, t := range event.Tables {
		c[t] = map[event.Status]int{}
		for _, s := range event.Statuses {
			n := 0
			for _, seg := range db.segmentList() {
				n += seg.seen.Load().of(t, s)
			}
			c[t][s] = n
		}
	}
	return c
}

// oldest returns when the oldest event with the given status was created; zero
// for none. What is parked has an index; of the others a segment that has any
// is looked through.
func (r *snapshot) oldest(status event.Status) time.Time {
	if status.DeadLetter() {
		return r.oldestParked(status)
	}
	for _, seg := range r.db.segmentList() {
		if seg.seen.Load().of(0, status) == 0 {
			continue
		}
		b, err := r.segment(seg)
		if err != nil {
			continue
		}
		if t := b.oldest(status); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func (r *snapshot) oldestParked(status event.Status) time.Time {
	c := r.tx.Bucket(bucketParked).Cursor()
	for k, _ := c.Seek(parkedKey(status, 0)); len(k) == 9 && event.Status(k[0]) == status; k, _ = c.Next() {
		seq := binary.BigEndian.Uint64(k[1:])
		b, err := r.of(seq)
		if err != nil {
			continue
		}
		if s, err := b.state(seq, r.db.names); err == nil {
			return s.created
		}
	}
	return time.Time{}
}

// oldest returns when the first event of a segment with a status was created.
func (b *segmentBuckets) oldest(status event.Status) time.Time {
	c := b.states.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if s, err := stateStatus(v); err == nil && s == status {
			return fromMicros(binary.LittleEndian.Uint64(v[stateHeader:]))
		}
	}
	return time.Time{}
}
