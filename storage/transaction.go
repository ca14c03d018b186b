package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

var (
	bucketMeta       = []byte("meta")
	bucketNames      = []byte("names")
	bucketSources    = []byte("sources")
	bucketPaused     = []byte("paused")
	bucketDue        = []byte("due")
	bucketInflight   = []byte("inflight")
	bucketParked     = []byte("parked")
	bucketOutbox     = []byte("outbox")
	bucketQuarantine = []byte("quarantine")
	bucketSegments   = []byte("segments")
)

var topBuckets = [][]byte{
	bucketMeta, bucketNames, bucketSources, bucketPaused, bucketDue, bucketInflight,
	bucketParked, bucketOutbox, bucketQuarantine, bucketSegments,
}

// transaction is one group of operations on its way to disk. Only the writer
// has one, and only one at a time.
type transaction struct {
	db  *DB
	tx  *bolt.Tx
	now time.Time

	segments, due, inflight, parked, outbox *bolt.Bucket

	inflightCursor *bolt.Cursor // kept, as segmentBuckets keeps one
	runs           []dueRun     // of the index of what is due, as they are by now; one a handler

	buckets map[uint64]*segmentBuckets // by first seq; those used so far
	changed map[*segment]struct{}
	current *segmentBuckets // where new events go; nil until the first
	filled  []*segment      // became full; to be sealed after the commit
	heads   block           // new events of current, not in the file yet
	bodies  block           // and their payloads

	first  uint64        // seq of the first new event, if any
	noted  int           // new events that are in the journal
	weight int           // of the operations so far, see linger
	waited time.Duration // for others

	published, acknowledged int      // outbox rows added and removed
	turns                   []turn   // that have come, and nobody was told of
	untold                  []string // handlers of those that came with damage, not with an update
}

func (db *DB) begin(tx *bolt.Tx) *transaction {
	return &transaction{
		db: db, tx: tx, now: db.now(), first: db.nextSeq,
		segments: tx.Bucket(bucketSegments), due: tx.Bucket(bucketDue),
		inflight: tx.Bucket(bucketInflight), parked: tx.Bucket(bucketParked),
		outbox: tx.Bucket(bucketOutbox),
		heads:  block{arena: &db.arena}, bodies: block{arena: &db.arena},
		buckets: make(map[uint64]*segmentBuckets, 2),
		changed: make(map[*segment]struct{}, 2),
	}
}

func (t *transaction) applyEach(group []*operation) error {
	for _, op := range group {
		if err := op.apply(t); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what was collected for the whole group.
func (t *transaction) finish() error {
	if t.noted > 0 {
		if err := endEpoch(t.tx, t.db.journal.epoch); err != nil {
			return err
		}
	}
	t.leaveUntold()
	if err := t.flushBlocks(); err != nil {
		return err
	}
	for s := range t.changed {
		if err := t.buckets[s.first].root.Put(keyInfo, s.info.encode()); err != nil {
			return err
		}
	}
	for _, b := range t.buckets {
		if err := b.summary.keep(b); err != nil {
			return err
		}
	}
	return errors.Join(t.flushRuns(), t.db.names.flush(t.tx.Bucket(bucketNames)))
}

func (t *transaction) flushBlocks() error {
	if t.current == nil {
		return nil
	}
	if err := t.heads.flush(t.current.heads); err != nil {
		return err
	}
	return t.bodies.flush(t.current.payloads)
}

// room returns the segment that takes the next event, a new one if need be.
func (t *transaction) room() (*segmentBuckets, error) {
	last := t.db.lastSegment()
	if last != nil && !last.full(t.now, &t.db.options) {
		if last.info.events == 0 {
			last.info.created = micros(t.now) // its age counts from its first event
		}
		if t.current == nil {
			var err error
			t.current, err = t.segment(last)
			return t.current, err
		}
		return t.current, nil
	}
	return t.newSegment(t.db.nextSeq, t.now)
}

// newSegment begins a segment with an event created at the given time. The one
// before is full.
func (t *transaction) newSegment(first uint64, created time.Time) (*segmentBuckets, error) {
	if err := t.flushBlocks(); err != nil {
		return nil, err
	}
	if last := t.db.lastSegment(); last != nil {
		t.filled = append(t.filled, last)
	}
	s := newSegment(first)
	s.summary.whole.Store(true)
	s.walked.Store(sound)
	s.info.created = micros(created)
	s.open.Store(newOpenIndex())
	s.publish()
	b, err := createSegment(t.segments, s)
	if err != nil {
		return nil, err
	}
	t.db.addSegment(s)
	t.buckets[s.first], t.current = b, b
	t.changed[s] = struct{}{} // it may stay without events
	return b, nil
}

// segment returns the buckets of a segment.
func (t *transaction) segment(s *segment) (*segmentBuckets, error) {
	if b, ok := t.buckets[s.first]; ok {
		return b, nil
	}
	if err := t.db.walkable(t.segments, s); err != nil {
		return nil, err
	}
	b, err := openSegment(t.segments, s)
	if err == nil {
		t.buckets[s.first] = b
	}
	return b, err
}

// of returns the buckets that hold an event, unless retention took it since;
// [event.ErrNotFound] if none does.
func (t *transaction) of(seq uint64) (*segmentBuckets, error) {
	s := t.db.segmentOf(seq)
	if s == nil || seq-s.first >= uint64(s.info.events) {
		return nil, notFound(seq)
	}
	return t.segment(s)
}

// event returns an event, also one of this very transaction.
func (t *transaction) event(b *segmentBuckets, seq uint64) (*event.Event, error) {
	if h, ok := t.heads.record(seq); ok {
		return decodeHead(seq, h)
	}
	return b.event(seq)
}

// putState writes an event's state and its place in the counts. from is the
// status it had before, 0 for a new event.
func (t *transaction) putState(b *segmentBuckets, seq uint64, from event.Status, s *state) error {
	if err := t.spill(b, seq, s); err != nil {
		return err
	}
	if from != s.Status {
		if from != 0 {
			b.info.count(s.table, from, -1)
		}
		b.info.count(s.table, s.Status, 1)
		t.changed[b.segment] = struct{}{}
	}
	b.summary.add(traitReason, string(s.Reason))
	if err := t.repark(seq, from, s.Status); err != nil {
		return err
	}
	return b.states.Put(key8(seq), encodeState(t.db.arena.take(2*stateSize), s, t.db.names))
}

// repark keeps the index of the events that are parked or given up.
func (t *transaction) repark(seq uint64, from, to event.Status) error {
	if from == to {
		return nil
	}
	if from.DeadLetter() {
		if err := t.parked.Delete(parkedKey(from, seq)); err != nil {
			return err
		}
	}
	if to.DeadLetter() {
		return t.parked.Put(parkedKey(to, seq), []byte{})
	}
	return nil
}

func parkedKey(s event.Status, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(s)}, seq)
}

// reindex moves one delivery in the indexes of what is open, from where old
// had it to where now wants it. Either may be nil.
func (t *transaction) reindex(seq uint64, n int, old, now *event.Delivery) error {
	if old != nil && old.Ordered() || now != nil && now.Ordered() {
		return t.reindexOrdered(seq, n, old, now)
	}
	if old != nil {
		if err := t.unindex(seq, n, old); err != nil {
			return err
		}
	}
	if now == nil {
		return nil
	}
	return t.index(seq, n, now)
}

func (t *transaction) index(seq uint64, n int, d *event.Delivery) error {
	switch d.Status {
	case event.Unprocessed, event.Retry:
		t.db.waiting(d.Handler).add(d.Status, 1)
		return t.schedule(t.dueEntry(d, seq, n), d.Status)
	case event.InProgress:
		return t.inflight.Put(deliveryKey(seq, n), []byte{})
	}
	return nil
}

func (t *transaction) unindex(seq uint64, n int, d *event.Delivery) error {
	switch d.Status {
	case event.Unprocessed, event.Retry:
		return t.unschedule(d.Handler, t.dueEntry(d, seq, n))
	case event.InProgress:
		return t.landed(deliveryKey(seq, n))
	}
	return nil
}

// landed takes a key out of the inflight index. It need not be there.
func (t *transaction) landed(key []byte) error {
	if t.inflightCursor == nil {
		t.inflightCursor = t.inflight.Cursor()
	}
	if k, _ := t.inflightCursor.Seek(key); !bytes.Equal(k, key) {
		return nil
	}
	return t.inflightCursor.Delete()
}

// quarantine notes that the state of an event cannot be read, and takes it out
// of the indexes kept by seq, so that who walks them does not meet it for ever.
// Its places in the schedule are given up when they are met.
func (t *transaction) quarantine(seq uint64, why error) error {
	if err := errors.Join(
		t.parked.Delete(parkedKey(event.Error, seq)), t.parked.Delete(parkedKey(event.Failed, seq)),
	); err != nil {
		return err
	}
	c := t.inflight.Cursor()
	for k, _ := c.Seek(key8(seq)); bytes.HasPrefix(k, key8(seq)); k, _ = c.Seek(key8(seq)) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return errors.Join(t.giveUpTurns(seq), t.noteDamage(seq, why))
}

// noteDamage lists an event under quarantine, once.
func (t *transaction) noteDamage(seq uint64, why error) error {
	q := t.tx.Bucket(bucketQuarantine)
	if q.Get(key8(seq)) != nil {
		return nil
	}
	t.db.quarantined.Add(1)
	return q.Put(key8(seq), []byte(why.Error()))
}
