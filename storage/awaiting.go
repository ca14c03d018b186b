package storage

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// bucketAwaiting is made with the first request that awaits a response: those
// that were sent and are not answered yet.
//
//	handler u32, seq, delivery u16 -> sealed: creation, sending (both µs)
//
// As in due, keys of a handler ascend.
var bucketAwaiting = []byte("awaiting")

const awaitingKeySize = 4 + 8 + 2

func awaitingKey(handler uint32, seq uint64, delivery int) []byte {
	k := binary.BigEndian.AppendUint32(make([]byte, 0, awaitingKeySize), handler)
	return append(k, deliveryKey(seq, delivery)...)
}

// awaited is one line of the index.
type awaited struct {
	seq           uint64
	created, sent time.Time
}

// never is when a request was sent of which that cannot be read.
var never = time.UnixMicro(math.MaxInt64)

// readAwaited reads a line of a handler's; false for what is none. One that is
// damaged awaits nothing.
func readAwaited(handler uint32, k, v []byte) (a awaited, ok bool) {
	if len(k) != awaitingKeySize || binary.BigEndian.Uint32(k) != handler {
		return a, false
	}
	a = awaited{seq: binary.BigEndian.Uint64(k[4:]), sent: never}
	if v, err := unsealed(v); err == nil && len(v) == 16 {
		a.created, a.sent = fromMicros(binary.BigEndian.Uint64(v)), fromMicros(binary.BigEndian.Uint64(v[8:]))
	}
	return a, true
}

// await notes that a delivery has sent a request. A response may have been quicker
// than the news of the sending.
func (t *transaction) await(b *segmentBuckets, seq uint64, s *state, w *event.Await) error {
	if w == nil || w.Delivery >= len(s.Deliveries) || t.answered(b, seq) {
		return nil
	}
	return t.putAwaited(s.Deliveries[w.Delivery].Handler, w.Delivery, awaited{seq: seq, created: s.created, sent: w.Sent})
}

func (t *transaction) putAwaited(handler string, delivery int, a awaited) error {
	bucket, err := t.tx.CreateBucketIfNotExists(bucketAwaiting)
	if err != nil {
		return err
	}
	v := binary.BigEndian.AppendUint64(nil, micros(a.created))
	v = binary.BigEndian.AppendUint64(v, micros(a.sent))
	return bucket.Put(awaitingKey(t.db.names.handler(handler), a.seq, delivery), sealed(v))
}

// answered reports whether a response has the id of an event.
func (t *transaction) answered(b *segmentBuckets, seq uint64) (yes bool) {
	e, err := t.event(b, seq)
	if err != nil {
		return false
	}
	_ = t.eachOf(e.ID, func(_ uint64, s *state) error {
		yes = yes || s.table == event.Response
		return nil
	})
	return yes
}

// eachOf calls f for the events with an id whose states can be read.
func (t *transaction) eachOf(id string, f func(seq uint64, s *state) error) error {
	hash := hashID([]byte(id))
	for _, p := range t.db.places(hash) {
		b, err := t.segment(p.segment)
		if err != nil {
			continue
		}
		for _, seq := range t.db.lookup(b, p.open, hash, nil) {
			s, err := b.state(seq, t.db.names)
			if err != nil {
				continue // not there yet, or damaged
			}
			if e, err := t.event(b, seq); err != nil || e.ID != id {
				continue
			}
			if err := f(seq, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// answer takes the requests that a response answers out of the index.
func (t *transaction) answer(response *event.Event) error {
	if response.Table != event.Response || t.tx.Bucket(bucketAwaiting) == nil {
		return nil
	}
	return t.eachOf(response.ID, func(seq uint64, s *state) error {
		if s.table != event.Request {
			return nil
		}
		for i := range s.Deliveries {
			if err := t.unawait(seq, i, &s.Deliveries[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// unawait takes a delivery out of the index, if it is there.
func (t *transaction) unawait(seq uint64, n int, d *event.Delivery) error {
	bucket := t.tx.Bucket(bucketAwaiting)
	handler, known := t.db.names.number(d.Handler)
	if bucket == nil || !known {
		return nil
	}
	return bucket.Delete(awaitingKey(handler, seq, n))
}

// dropAwaiting takes the events from one seq up to another out of the index.
func (t *transaction) dropAwaiting(from, to uint64) error {
	bucket := t.tx.Bucket(bucketAwaiting)
	if bucket == nil {
		return nil
	}
	for _, handler := range awaitedHandlers(bucket) {
		c := bucket.Cursor()
		end := awaitingKey(handler, to, 0)
		for k, _ := c.Seek(awaitingKey(handler, from, 0)); k != nil && slices.Compare(k, end) < 0; k, _ = c.Seek(awaitingKey(handler, from, 0)) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitedHandlers returns the handlers that have requests in the index: few.
func awaitedHandlers(bucket *bolt.Bucket) (list []uint32) {
	c := bucket.Cursor()
	for k, _ := c.First(); len(k) == awaitingKeySize; {
		handler := binary.BigEndian.Uint32(k)
		list = append(list, handler)
		k, _ = c.Seek(awaitingKey(handler+1, 0, 0))
	}
	return list
}

// maxOverdue is up to how many overdue requests of a handler are counted, and
// how many lines of the index are read for it.
const maxOverdue = 10_000

// Overdue returns how many requests that a handler has sent at or before a time
// await their response; of more than 10,000 it says 10,000.
func (db *DB) Overdue(handler string, sent time.Time) (n int) {
	number, ok := db.names.number(handler)
	if !ok {
		return 0
	}
	_ = db.viewCommitted(func(r *snapshot) error {
		bucket := r.tx.Bucket(bucketAwaiting)
		if bucket == nil {
			return nil
		}
		c := bucket.Cursor()
		k, v := c.Seek(awaitingKey(number, 0, 0))
		for range maxOverdue {
			a, ok := readAwaited(number, k, v)
			if !ok || a.created.After(sent) { // the rest are later still
				return nil
			}
			if !a.sent.After(sent) {
				n++
			}
			k, v = c.Next()
		}
		return nil
	})
	return n
}

// listAwaiting lists the requests that await a response: through their index.
func (db *DB) listAwaiting(ctx context.Context, f event.Filter, p event.Page) (list []event.Record, next uint64, err error) {
	var handlers []uint32
	if err := db.view(ctx, func(r *snapshot) error {
		if bucket := r.tx.Bucket(bucketAwaiting); bucket != nil {
			handlers = awaitedHandlers(bucket)
		}
		return nil
	}); err != nil {
		return nil, 0, err
	}
	for _, handler := range handlers {
		of, err := db.awaitingOf(ctx, handler, &f, &p)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, of...)
	}
	slices.SortFunc(list, func(a, b event.Record) int {
		if p.OldestFirst {
			return cmp.Compare(a.Seq, b.Seq)
		}
		return cmp.Compare(b.Seq, a.Seq)
	})
	list = slices.CompactFunc(list, func(a, b event.Record) bool { return a.Seq == b.Seq })
	list, next = cut(list, p.Limit)
	return list, next, nil
}

// awaitingOf returns the first requests of one handler that a filter selects, one
// more than fit the page where there are.
func (db *DB) awaitingOf(ctx context.Context, handler uint32, f *event.Filter, p *event.Page) (list []event.Record, err error) {
	after, more, wanted := p.After, true, newProbe(db, f)
	for more && len(list) <= p.Limit {
		err := db.view(ctx, func(r *snapshot) error {
			w := walk{cursor: r.tx.Bucket(bucketAwaiting).Cursor(), handler: handler, oldestFirst: p.OldestFirst}
			a, ok := w.begin(after)
			for i := 0; ok && i < slice && len(list) <= p.Limit; i++ {
				if after != a.seq && !a.sent.After(f.Unanswered) {
					if b, err := r.of(a.seq); err == nil {
						x := scanner{snapshot: r, b: b}
						if rec, ok := x.match(wanted, a.seq); ok {
							list = append(list, rec)
						}
					}
				}
				after = a.seq
				a, ok = w.next()
			}
			more = ok
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// walk goes through the requests of one handler.
type walk struct {
	cursor      *bolt.Cursor
	handler     uint32
	oldestFirst bool
}

// begin returns the first request behind the one with the given seq; 0 for none.
func (w *walk) begin(after uint64) (awaited, bool) {
	if w.oldestFirst {
		return w.read(w.cursor.Seek(awaitingKey(w.handler, after+1, 0)))
	}
	edge := awaitingKey(w.handler, after, 0)
	if after == 0 {
		edge = awaitingKey(w.handler+1, 0, 0)
	}
	if k, _ := w.cursor.Seek(edge); k == nil {
		return w.read(w.cursor.Last())
	}
	return w.read(w.cursor.Prev())
}

func (w *walk) next() (awaited, bool) {
	if w.oldestFirst {
		return w.read(w.cursor.Next())
	}
	return w.read(w.cursor.Prev())
}

func (w *walk) read(k, v []byte) (awaited, bool) { return readAwaited(w.handler, k, v) }

// cut returns the page and, when there is more, the seq it ends with.
func cut(list []event.Record, limit int) ([]event.Record, uint64) {
	if len(list) <= limit {
		return list, 0
	}
	return list[:limit], list[limit-1].Seq
}
