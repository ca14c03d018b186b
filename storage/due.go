package storage

import (
	"context"
	"encoding/binary"
	"errors"
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

// dueKey orders what waits for a handler by the time it is due.
func dueKey(handler uint32, at time.Time, seq uint64, delivery int) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, dueKeySize), handler)
	b = binary.BigEndian.AppendUint64(b, optionalMicros(at))
	b = binary.BigEndian.AppendUint64(b, seq)
	return binary.BigEndian.AppendUint16(b, uint16(delivery)) //nolint:gosec // few
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

// Due returns what waits for a handler and is due, soonest first. next is when
// the soonest one not returned is due: in the past when a limit cut the list,
// zero when there is none. What cannot be read is quarantined and left out.
func (db *DB) Due(ctx context.Context, q event.DueQuery) (list []event.Due, next time.Time, err error) {
	id, ok := db.names.number(q.Handler)
	if !ok {
		return nil, time.Time{}, nil
	}
	var damaged []dueEntry
	err = db.view(ctx, func(r *snapshot) error {
		prefix := binary.BigEndian.AppendUint32(nil, id)
		c, size := r.tx.Bucket(bucketDue).Cursor(), 0
		for k, _ := c.Seek(prefix); k != nil; k, _ = c.Next() {
			d, ok := splitDueKey(k)
			if !ok || d.handler != id {
				return nil
			}
			if d.at > micros(q.Now) || len(list) >= q.Limit || size >= q.Bytes {
				next = fromMicros(d.at)
				return nil
			}
			item, err := r.due(d)
			if err != nil {
				damaged = append(damaged, d)
				continue
			}
			size += len(item.Payload)
			list = append(list, item)
		}
		return nil
	})
	if err == nil && len(damaged) > 0 {
		err = db.quarantineDue(ctx, damaged)
	}
	return list, next, err
}

func (r *snapshot) due(d dueEntry) (item event.Due, err error) {
	b, err := r.of(d.seq)
	if err != nil {
		return item, err
	}
	s, err := b.state(d.seq, r.db.names)
	if err != nil {
		return item, err
	}
	if d.delivery >= len(s.Deliveries) {
		return item, errDamaged
	}
	e, err := b.event(d.seq)
	if err != nil {
		return item, err
	}
	p, err := b.payload(d.seq)
	if err != nil {
		return item, err
	}
	return event.Due{Event: e, Payload: append([]byte{}, p...), Index: d.delivery, Delivery: s.Deliveries[d.delivery]}, nil
}

// quarantineDue takes deliveries whose records are damaged out of the schedule.
func (db *DB) quarantineDue(ctx context.Context, list []dueEntry) error {
	db.log.Error().Int("events", len(list)).Uint64("seq", list[0].seq).Msg("damaged records are quarantined and not delivered")
	return db.do(ctx, 0, func(t *transaction) error {
		for _, d := range list {
			key := dueKey(d.handler, fromMicros(d.at), d.seq, d.delivery)
			v := t.due.Get(key)
			if len(v) != 1 {
				continue
			}
			if name, ok := db.names.name(d.handler); ok {
				db.waiting(name).add(event.Status(v[0]), -1)
			}
			if err := errors.Join(t.due.Delete(key), t.quarantine(d.seq, errDamaged)); err != nil {
				return err
			}
		}
		return nil
	})
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

// Inflight returns at most limit deliveries that are IN_PROGRESS, those behind
// the given one. After a start these are the interrupted ones.
func (db *DB) Inflight(ctx context.Context, after uint64, limit int) (seqs []uint64, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		seqs = distinct(r.tx.Bucket(bucketInflight), key8(after+1), limit, func(k []byte) (uint64, bool) {
			seq, _, ok := splitDeliveryKey(k)
			return seq, ok
		})
		return nil
	})
	return seqs, err
}

// Parked returns at most limit events that are ERROR or FAILED, as asked for,
// those behind the given one.
func (db *DB) Parked(ctx context.Context, status event.Status, after uint64, limit int) (seqs []uint64, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		seqs = distinct(r.tx.Bucket(bucketParked), parkedKey(status, after+1), limit, func(k []byte) (uint64, bool) {
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
