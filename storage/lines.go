package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// bucketLines is made with the first delivery that is ordered: those of a handler
// with the same order key stand in line there.
//
//	m, handler u32, line, seq, delivery u16 -> status, due time µs   a place in line
//	f, handler u32, line -> seq, delivery u16                        whose turn it is
//	b, handler u32, line -> nothing                                  it is ERROR or FAILED
//	r, handler u32, line -> nothing                                  it is RETRY
//
// A line is a hash of the order key: two keys that share one would be ordered
// with each other, which does no harm. Of those that have a place the index due
// has only the one whose turn it is, if it waits, so that nobody meets the others,
// however many they are. Whose turn it is changes in the transaction that ends it:
// see [transaction.turn].
//
// What is delayed, or waits for its retry and lets others go on meanwhile, has no
// place and is in due like what is not ordered. When its time comes [DB.Due] gives
// it its place.
var bucketLines = []byte("lines")

const (
	linePlace   = 'm'
	lineTurn    = 'f'
	lineBlocked = 'b'
	lineRetries = 'r'

	lineHashSize  = 16
	lineKeySize   = 1 + 4 + lineHashSize
	placeSize     = 8 + 2
	linePlaceSize = lineKeySize + placeSize
)

// line is where the deliveries of a handler with one order key stand.
type line struct {
	handler uint32
	hash    [lineHashSize]byte
}

// key returns a key of the line; rest is what follows the line in it.
func (l *line) key(kind byte, rest ...byte) []byte {
	k := binary.BigEndian.AppendUint32(append(make([]byte, 0, linePlaceSize), kind), l.handler)
	return append(append(k, l.hash[:]...), rest...)
}

func (l *line) placeKey(p spot) []byte { return l.key(linePlace, deliveryKey(p.seq, p.delivery)...) }

// spot is one delivery of an event.
type spot struct {
	seq      uint64
	delivery int
}

func readSpot(b []byte) (p spot, ok bool) {
	if len(b) != placeSize {
		return p, false
	}
	return spot{binary.BigEndian.Uint64(b), int(binary.BigEndian.Uint16(b[8:]))}, true
}

// stander is one that has a place in a line.
type stander struct {
	spot
	status event.Status
	at     uint64 // µs
}

func (x *stander) waits() bool { return waits(x.status) }

func waits(s event.Status) bool { return s == event.Unprocessed || s == event.Retry }

func (x *stander) due(handler uint32) dueEntry {
	return dueEntry{handler: handler, at: x.at, seq: x.seq, delivery: x.delivery}
}

func (x *stander) value() []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(x.status)}, x.at)
}

// readStander reads a place of a line; false for a key that is none.
func readStander(k, v []byte) (x stander, ok bool) {
	if len(k) != linePlaceSize || k[0] != linePlace || len(v) != 9 {
		return x, false
	}
	x.spot, ok = readSpot(k[lineKeySize:])
	x.status, x.at = event.Status(v[0]), binary.BigEndian.Uint64(v[1:])
	return x, ok
}

// readLine returns the line that a key is of.
func readLine(k []byte) (l line, ok bool) {
	if len(k) < lineKeySize {
		return l, false
	}
	l.handler = binary.BigEndian.Uint32(k[1:])
	copy(l.hash[:], k[5:])
	return l, true
}

// lines reads the bucket. Without one there is nobody in any line.
type lines struct{ *bolt.Bucket }

// turn returns whose turn it is, if it is anybody's.
func (b lines) turn(l *line) (p spot, ok bool) {
	if b.Bucket == nil {
		return p, false
	}
	return readSpot(b.Get(l.key(lineTurn)))
}

// stander returns what is known of a place, if it is taken.
func (b lines) stander(l *line, p spot) (stander, bool) {
	k := l.placeKey(p)
	return readStander(k, b.Get(k))
}

// first returns who came first of those that have a place.
func (b lines) first(l *line) (x stander, ok bool) {
	k, v := b.Cursor().Seek(l.key(linePlace))
	if !bytes.HasPrefix(k, l.key(linePlace)) {
		return x, false
	}
	return readStander(k, v)
}

// inFlight returns who of a line is IN_PROGRESS, if anybody is.
func (b lines) inFlight(l *line) (spot, bool) {
	p, ok := b.turn(l)
	if !ok {
		return p, false
	}
	x, ok := b.stander(l, p)
	return p, ok && x.status == event.InProgress
}

func lineHash(orderKey string) (h [lineHashSize]byte) {
	sum := sha256.Sum256([]byte(orderKey))
	copy(h[:], sum[:])
	return h
}

func (n *names) line(d *event.Delivery) line {
	return line{handler: n.handler(d.Handler), hash: lineHash(d.OrderKey)}
}

// delaySlack is how far ahead an event may be due that takes its place at once:
// more than the clock of who stored it is off.
const delaySlack = time.Second

// delayed reports whether a delivery is to take its place later.
func (t *transaction) delayed(d *event.Delivery) bool {
	return d.Status == event.Unprocessed && d.NextAttempt.After(t.now.Add(delaySlack))
}

// reindexOrdered is reindex where one of the two is ordered.
func (t *transaction) reindexOrdered(seq uint64, n int, old, now *event.Delivery) error {
	bucket, err := t.tx.CreateBucketIfNotExists(bucketLines)
	if err != nil {
		return err
	}
	t.db.lined = true
	b, p := lines{bucket}, spot{seq, n}
	var of []line
	if old != nil && old.Ordered() {
		l := t.db.names.line(old)
		of = append(of, l)
		stays := now != nil && now.Holds() && !t.delayed(now) && t.db.names.line(now) == l
		err = t.leave(b, &l, p, old, stays)
	} else if old != nil {
		err = t.unindex(seq, n, old)
	}
	if err != nil {
		return err
	}
	if now != nil && now.Ordered() {
		l := t.db.names.line(now)
		if !slices.Contains(of, l) {
			of = append(of, l)
		}
		err = t.join(b, &l, p, now)
	} else if now != nil {
		err = t.index(seq, n, now)
	}
	for i := range of {
		if err == nil {
			err = t.turn(b, &of[i], p)
		}
	}
	return err
}

// leave takes a delivery out of its line and out of the other indexes. Where it
// stays in line, its place is written anew by who calls.
func (t *transaction) leave(b lines, l *line, p spot, d *event.Delivery, stays bool) error {
	k := l.placeKey(p)
	had := b.Get(k) != nil
	if had && !stays {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	switch d.Status {
	case event.Unprocessed, event.Retry:
		entry := dueEntry{handler: l.handler, at: dueMicros(d.NextAttempt), seq: p.seq, delivery: p.delivery}
		if t.scheduled(entry) {
			return t.unschedule(d.Handler, entry)
		}
		if had { // what is damaged was taken out before
			t.db.waiting(d.Handler).add(d.Status, -1)
		}
	case event.InProgress:
		return t.landed(deliveryKey(p.seq, p.delivery))
	}
	return nil
}

// join gives a delivery its place, or leaves it in the schedule until its time has
// come. It is another's turn to see whose turn it is then.
func (t *transaction) join(b lines, l *line, p spot, d *event.Delivery) error {
	if waits(d.Status) {
		t.db.waiting(d.Handler).add(d.Status, 1)
	}
	if !d.Holds() || t.delayed(d) {
		if !waits(d.Status) {
			return nil
		}
		return t.schedule(dueEntry{handler: l.handler, at: dueMicros(d.NextAttempt), seq: p.seq, delivery: p.delivery}, d.Status)
	}
	x := stander{spot: p, status: d.Status, at: dueMicros(d.NextAttempt)}
	if err := b.Put(l.placeKey(p), x.value()); err != nil {
		return err
	}
	if d.Status != event.InProgress {
		return nil
	}
	if err := t.inflight.Put(deliveryKey(p.seq, p.delivery), []byte{}); err != nil {
		return err
	}
	return t.pass(b, l, p)
}

// pass makes it the turn of p. Who waited for an attempt waits in line again.
func (t *transaction) pass(b lines, l *line, p spot) error {
	was, ok := b.turn(l)
	if ok && was == p {
		return nil
	}
	if ok {
		if x, ok := b.stander(l, was); ok && x.waits() {
			if err := t.waitInLine(x.due(l.handler), x.status); err != nil {
				return err
			}
		}
	}
	return b.Put(l.key(lineTurn), deliveryKey(p.seq, p.delivery))
}

// waitInLine takes out of the schedule who waits all the same.
func (t *transaction) waitInLine(d dueEntry, status event.Status) error {
	name, ok := t.db.names.name(d.handler)
	if !ok || !t.scheduled(d) {
		return nil
	}
	t.db.waiting(name).add(status, 1) // it is not one less
	return t.unschedule(name, d)
}

// turn sees whose turn it is after a change of p: his who is in flight, or else of
// who came first. If he waits he is due.
func (t *transaction) turn(b lines, l *line, changed spot) error {
	was, known := b.turn(l)
	now, ok := stander{}, false
	if known {
		now, ok = b.stander(l, was)
	}
	if !ok || now.status != event.InProgress {
		now, ok = b.first(l)
	}
	if err := b.mark(l, now.status); err != nil {
		return err
	}
	if !ok {
		return b.Delete(l.key(lineTurn))
	}
	if !known || was != now.spot {
		if err := t.pass(b, l, now.spot); err != nil {
			return err
		}
	} else if now.spot != changed {
		return nil
	}
	if !now.waits() {
		return nil
	}
	if now.spot != changed {
		t.turns = append(t.turns, turn{l.handler, now})
	}
	return t.schedule(now.due(l.handler), now.status)
}

// mark lists a line among those that are kept waiting; 0 for nobody's turn.
func (b lines) mark(l *line, s event.Status) error {
	return errors.Join(b.list(l.key(lineBlocked), s.DeadLetter()), b.list(l.key(lineRetries), s == event.Retry))
}

// list puts a key there, or takes it away.
func (b lines) list(k []byte, yes bool) error {
	switch there := b.Get(k) != nil; {
	case yes && !there:
		return b.Put(k, []byte{})
	case there && !yes:
		return b.Delete(k)
	}
	return nil
}
