package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

const dueKeySize = 4 + 8 + 8 + 2

type dueEntry struct {
	handler  uint32
	at       uint64 // µs
	seq      uint64
	delivery int
}

// dueEntry is where a delivery that waits is in the index.
func (t *transaction) dueEntry(d *event.Delivery, seq uint64, n int) dueEntry {
	return dueEntry{handler: t.db.names.handler(d.Handler), at: dueMicros(d.NextAttempt), seq: seq, delivery: n}
}

// dueMicros is a time as the index keeps it: what is before 1970, or no time at
// all, is due since then.
func dueMicros(at time.Time) uint64 { return uint64(max(at.UnixMicro(), 0)) } // not negative

// key orders what waits for a handler by the time it is due.
func (d dueEntry) key() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, dueKeySize), d.handler)
	b = binary.BigEndian.AppendUint64(b, d.at)
	b = binary.BigEndian.AppendUint64(b, d.seq)
	return binary.BigEndian.AppendUint16(b, uint16(d.delivery)) // at most maxDeliveries
}

func splitDueKey(k []byte) (d dueEntry, ok bool) {
	if len(k) != dueKeySize {
		return d, false
	}
	return dueEntry{
		handler: binary.BigEndian.Uint32(k), at: binary.BigEndian.Uint64(k[4:]),
		seq: binary.BigEndian.Uint64(k[12:]), delivery: int(binary.BigEndian.Uint16(k[20:])),
	}, true
}

// maxPassedOver bounds how many events that are too large for the room are passed
// over in one reading.
const maxPassedOver = 256

// Due returns what waits for a handler and is due, soonest first. next is when
// the soonest one not returned is due: in the past when a limit cut the list,
// zero when there is none. What cannot be read is quarantined and left out, and what
// has come due before its turn gets its place in line: it is read again while that
// was all. Of events that are too large for the room it passes over 256, and ends there.
func (db *DB) Due(ctx context.Context, q event.DueQuery) (list []event.Due, next time.Time, err error) {
	id, ok := db.names.number(q.Handler)
	if !ok {
		return nil, time.Time{}, nil
	}
	for last := (dueEntry{}); ; {
		x := &dueReading{DueQuery: q, left: newRoom(q.Room)}
		err = db.readDue(ctx, id, x)
		first := x.first()
		if err != nil || len(x.list) > 0 || first == last { // which is none, or one that damage keeps there
			return x.list, x.next, err
		}
		last = first
	}
}

// readDue is one reading, and what follows from it.
func (db *DB) readDue(ctx context.Context, id uint32, x *dueReading) error {
	q := &x.DueQuery
	err := db.view(ctx, func(r *snapshot) error {
		prefix := binary.BigEndian.AppendUint32(nil, id)
		c := r.tx.Bucket(bucketDue).Cursor()
		for k, v := c.Seek(prefix); k != nil; k, v = c.Next() {
			run, ok := readDueRun(k, v)
			if !ok || run.handler != id {
				return nil
			}
			for d := range run.entries() {
				if !x.read(r, d) {
					x.next = fromMicros(d.at)
					return nil
				}
			}
		}
		return nil
	})
	if err == nil && len(x.bad) > 0 {
		err = db.takeOut(ctx, q.Handler, x.bad)
	}
	if err == nil && len(x.seats) > 0 {
		err = db.hand(ctx, &operation{events: len(x.seats), apply: func(t *transaction) (err error) {
			for i := 0; i < len(x.seats) && err == nil; i++ {
				err = t.seat(x.seats[i], q.Handler)
			}
			return err
		}})
	}
	if len(x.bad)+len(x.seats) > 0 {
		x.next = q.Now // others may have come due instead of them
	}
	return err
}

// dueReading is what [DB.Due] has read so far.
type dueReading struct {
	event.DueQuery
	list  []event.Due
	bad   []dueEntry // damaged
	seats []dueEntry // not at their turn, and without a place in their line
	next  time.Time
	size  int // bytes of payload in list
	left  room
}

// first returns one that is to leave its place, if any is.
func (x *dueReading) first() dueEntry {
	switch {
	case len(x.bad) > 0:
		return x.bad[0]
	case len(x.seats) > 0:
		return x.seats[0]
	}
	return dueEntry{}
}

// read reads the next one. It returns false when that is for another time.
func (x *dueReading) read(r *snapshot, d dueEntry) bool {
	if d.at > dueMicros(x.Now) || len(x.list)+len(x.bad)+len(x.seats) >= x.Limit || x.size >= x.Bytes || x.left.passed >= maxPassedOver {
		return false
	}
	item, payload, err := r.due(d, x.Handler)
	if err != nil {
		x.bad = append(x.bad, d)
		return true
	}
	if r.takesSeat(d, &item.Delivery) {
		x.seats = append(x.seats, d)
		return true
	}
	if fits, over := x.left.take(item.Event, payload); !fits {
		return over
	}
	item.Payload = append([]byte{}, payload...)
	x.size += len(item.Payload)
	x.list = append(x.list, item)
	return true
}

// room is what is left of one; of none there is always enough.
type room struct {
	*event.Room
	left, passed int
}

func newRoom(r *event.Room) room {
	if r == nil {
		return room{}
	}
	return room{Room: r, left: r.Bytes}
}

// take makes room for an event if it fits. over says that it never would.
func (r *room) take(e *event.Event, payload []byte) (fits, over bool) {
	if r.Room == nil {
		return true, false
	}
	need := r.Size(e, payload)
	if need > r.Bytes {
		r.passed++
		return false, true
	}
	r.left -= need
	return r.left >= 0, false
}

// due reads what an entry of the index stands for, with the payload as it lies in
// the file. An error says that this is damaged, or the entry is.
func (r *snapshot) due(d dueEntry, handler string) (item event.Due, payload []byte, err error) {
	defer recoverDamage(&err)
	b, err := r.of(d.seq)
	if err != nil {
		return item, nil, err
	}
	s, err := b.state(d.seq, r.db.names)
	if err != nil {
		return item, nil, err
	}
	if !d.standsFor(s, handler) {
		return item, nil, errDamaged
	}
	e, err := b.event(d.seq)
	if err != nil {
		return item, nil, err
	}
	payload, err = b.outgoing(d.seq, s.PayloadRow)
	if err != nil {
		return item, nil, err
	}
	return event.Due{Event: e, Index: d.delivery, Delivery: s.Deliveries[d.delivery]}, payload, nil
}

// standsFor reports whether a state has the delivery that an entry says, waiting.
func (d dueEntry) standsFor(s *state, handler string) bool {
	if d.delivery >= len(s.Deliveries) {
		return false
	}
	x := &s.Deliveries[d.delivery]
	return x.Handler == handler && dueMicros(x.NextAttempt) == d.at &&
		(x.Status == event.Unprocessed || x.Status == event.Retry)
}

// takeOut takes entries that cannot be delivered out of the schedule.
func (db *DB) takeOut(ctx context.Context, handler string, list []dueEntry) error {
	db.log.Error().Str("handler", handler).Int("events", len(list)).Uint64("seq", list[0].seq).
		Msg("damaged records are quarantined and not delivered")
	return db.hand(ctx, &operation{events: len(list), places: len(list), apply: func(t *transaction) error {
		for _, d := range list {
			if err := t.takeOut(d, handler); err != nil {
				return err
			}
		}
		return nil
	}})
}

// takeOut gives up one entry: with a readable state the delivery becomes ERROR
// `quarantined`, as any other that ends, so that people find it and can act.
func (t *transaction) takeOut(d dueEntry, handler string) error {
	if !t.scheduled(d) {
		return nil // it moved meanwhile
	}
	b, s, err := t.stateOf(d.seq)
	if errors.Is(err, event.ErrNotFound) {
		return errors.Join(t.giveUpTurns(d.seq), t.unschedule(handler, d))
	}
	if err != nil { // which is out of the schedule with its turn, if it had one
		return errors.Join(t.quarantine(d.seq, err), t.unschedule(handler, d))
	}
	if !d.standsFor(s, handler) {
		return t.unschedule(handler, d) // the entry was damaged, not the event
	}
	_, err = t.event(b, d.seq)
	if err == nil {
		_, err = b.outgoing(d.seq, s.PayloadRow)
	}
	if err == nil {
		return nil
	}
	return errors.Join(t.parkDamaged(b, d, s, err), t.noteDamage(d.seq, err))
}

func (t *transaction) stateOf(seq uint64) (*segmentBuckets, *state, error) {
	b, err := t.of(seq)
	if err != nil {
		return nil, nil, err
	}
	s, err := b.state(seq, t.db.names)
	return b, s, err
}

func (t *transaction) parkDamaged(b *segmentBuckets, d dueEntry, s *state, why error) error {
	was, old := s.Status, slices.Clone(s.Deliveries)
	x := &s.Deliveries[d.delivery]
	x.Status, x.Reason, x.NextAttempt = event.Error, event.Quarantined, time.Time{}
	s.UpdatedAt = t.now
	s.Timeline = append(s.Timeline, event.Entry{
		At: t.now, Status: event.Error, Handler: x.Handler, Reason: event.Quarantined, Detail: why.Error(),
	})
	s.Derive()
	return errors.Join(t.reindexAll(d.seq, old, s.Deliveries), t.putState(b, d.seq, was, s))
}

// Waiting returns how many deliveries of a handler wait for a slot or for
// their first time, and how many for their next.
func (db *DB) Waiting(handler string) (unprocessed, retries int) {
	q := db.waiting(handler)
	return int(q.unprocessed.Load()), int(q.retry.Load())
}

// WaitingHandlers returns the names of the handlers for which something waits.
func (db *DB) WaitingHandlers() (list []string) {
	db.queues.Range(func(k, v any) bool {
		if q := v.(*queue); q.unprocessed.Load()+q.retry.Load() > 0 {
			list = append(list, k.(string))
		}
		return true
	})
	return list
}

// Inflight returns at most limit events with deliveries that are IN_PROGRESS,
// those behind the given one. After a start these are the interrupted ones.
func (db *DB) Inflight(ctx context.Context, after uint64, limit int) (seqs []uint64, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		seqs = distinct(r.tx.Bucket(bucketInflight), key8(after+1), limit, seqOfDelivery)
		return nil
	})
	return seqs, err
}

// Parked returns at most limit events that are ERROR or FAILED, as asked for,
// those behind the given one.
func (db *DB) Parked(ctx context.Context, status event.Status, after uint64, limit int) (seqs []uint64, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		seqs = distinct(r.tx.Bucket(bucketParked), parkedKey(status, after+1), limit, func(k []byte) (uint64, bool) {
			if len(k) != 9 {
				return 0, false
			}
			return binary.BigEndian.Uint64(k[1:]), event.Status(k[0]) == status
		})
		return nil
	})
	return seqs, err
}

// distinct collects the seqs of a bucket from a key on, until one does not belong.
func distinct(b *bolt.Bucket, from []byte, limit int, seqOf func([]byte) (uint64, bool)) (seqs []uint64) {
	c := b.Cursor()
	for k, _ := c.Seek(from); k != nil && len(seqs) < limit; k, _ = c.Next() {
		seq, ok := seqOf(k)
		if !ok {
			return seqs
		}
		if len(seqs) == 0 || seqs[len(seqs)-1] != seq {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}
