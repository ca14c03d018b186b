package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/rs/zerolog"
	bolt "go.etcd.io/bbolt"
)

// Inconsistencies opens the file of a closed store and returns what in it does
// not fit together: bbolt's own check of every page, records that cannot be
// read, indexes that are not what the states say, counts that do not add up.
// Events under quarantine are left out. The file is not changed.
func Inconsistencies(path string) (problems []string, err error) {
	return inconsistencies(path, false)
}

// inconsistencies is Inconsistencies of a store that retention may have taken
// events from.
func inconsistencies(path string, thinned bool) (problems []string, err error) {
	b, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	err = b.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			problems = append(problems, err.Error())
		}
		c := &consistency{
			tx: tx, thinned: thinned, names: newNames(), next: 1, log: zerolog.Nop(),
			due: map[string]event.Status{}, inflight: map[string]bool{}, parked: map[string]bool{}, lost: map[uint64]bool{},
		}
		problems = append(problems, c.check()...)
		return nil
	})
	return problems, err
}

// checkFile fails the test when the file of a closed store is not in order.
func checkFile(t testing.TB, path string) {
	t.Helper()
	problems, err := Inconsistencies(path)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, p := range problems {
		t.Errorf("check: %s", p)
	}
}

// consistency collects what the states say the indexes must be.
type consistency struct {
	thinned  bool // events may be missing
	tx       *bolt.Tx
	names    *names
	log      zerolog.Logger
	next     uint64 // the seq that the next segment must begin with
	due      map[string]event.Status
	inflight map[string]bool
	parked   map[string]bool
	lost     map[uint64]bool // events whose state cannot be read
	problems []string
}

func (c *consistency) fail(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *consistency) check() []string {
	for _, name := range topBuckets {
		if c.tx.Bucket(name) == nil {
			c.fail("no bucket %s", name)
			return c.problems
		}
	}
	if err := c.names.load(c.tx.Bucket(bucketNames)); err != nil {
		c.fail("names: %v", err)
	}
	segments := c.tx.Bucket(bucketSegments)
	_ = segments.ForEachBucket(func(k []byte) error {
		c.segment(segments, binary.BigEndian.Uint64(k))
		return nil
	})
	c.indexes()
	c.outbox()
	return c.problems
}

func (c *consistency) segment(segments *bolt.Bucket, first uint64) {
	b, err := openSegment(segments, &segment{first: first})
	if err != nil {
		c.fail("segment %d: %v", first, err)
		return
	}
	info, err := decodeInfo(b.root.Get(keyInfo))
	if err != nil {
		c.fail("segment %d: info: %v", first, err)
		return
	}
	if !c.thinned && (first != c.next || info.events == 0) || first < c.next {
		c.fail("segment %d with %d events; want it to begin with %d", first, info.events, c.next)
	}
	c.next = first + uint64(info.events)
	again := segmentInfo{created: info.created}
	for seq := first; seq < c.next; seq++ {
		if c.thinned && !b.has(seq) {
			again.events++
			continue
		}
		c.event(b, seq, &again)
	}
	if c.thinned {
		again.last = max(again.last, info.last)
	}
	if len(c.lost) == 0 && again.counts != info.counts || again.events != info.events || again.last != info.last {
		c.fail("segment %d: info = %+v; want %+v", first, info, again)
	}
	if n := b.states.Inspect().KeyN; !c.thinned && n != int(info.events) || n > int(info.events) {
		c.fail("segment %d: %d states of %d events", first, n, info.events)
	}
	c.ids(b, info.events)
	c.children(b)
}

func (c *consistency) event(b *segmentBuckets, seq uint64, info *segmentInfo) {
	info.events++
	known := c.tx.Bucket(bucketQuarantine).Get(key8(seq)) != nil
	s, err := b.state(seq, c.names)
	if err != nil {
		c.lost[seq] = true
		c.damaged(known, err)
		return
	}
	info.count(s.table, s.Status, 1)
	info.last = max(info.last, micros(s.created))
	c.open(seq, s)
	derived := s.State
	if derived.Derive(); derived.Status != s.Status || derived.Reason != s.Reason {
		c.fail("event %d is %s %s; its deliveries make it %s %s", seq, s.Status, s.Reason, derived.Status, derived.Reason)
	}
	if e, err := b.event(seq); err != nil {
		c.damaged(known, err)
	} else if e.Table != s.table || !e.CreatedAt.Equal(s.created) {
		c.fail("event %d: head says %s %s, state %s %s", seq, e.Table, e.CreatedAt, s.table, s.created)
	}
	if _, err := readBodies(b, seq); err != nil {
		c.damaged(known, fmt.Errorf("payloads of event %d: %w", seq, err))
	}
	for n := range s.spilled {
		if _, err := readNote(b.root.Bucket(bucketNotes), noteKey(seq, n), s, c.names); err != nil {
			c.damaged(known, fmt.Errorf("note %d of event %d: %w", n, seq, err))
		}
	}
	if b.root.Bucket(bucketNotes).Get(noteKey(seq, s.spilled)) != nil {
		c.fail("event %d has more than %d notes", seq, s.spilled)
	}
}

// damaged reports a record that cannot be read, unless the store knows it.
func (c *consistency) damaged(known bool, err error) {
	if !known {
		c.fail("%v", err)
	}
}

// open notes where the indexes must have an event.
func (c *consistency) open(seq uint64, s *state) {
	for i, d := range s.Deliveries {
		switch d.Status {
		case event.Unprocessed, event.Retry:
			id, ok := c.names.number(d.Handler)
			if !ok {
				c.fail("event %d waits for %s, which has no number", seq, d.Handler)
			}
			c.due[string(dueKey(id, d.NextAttempt, seq, i))] = d.Status
		case event.InProgress:
			c.inflight[string(deliveryKey(seq, i))] = true
		}
	}
	if s.Status.DeadLetter() {
		c.parked[string(parkedKey(s.Status, seq))] = true
	}
}

func (c *consistency) indexes() {
	due := map[string]event.Status{}
	_ = c.tx.Bucket(bucketDue).ForEach(func(k, v []byte) error {
		if d, ok := splitDueKey(k); ok && c.lost[d.seq] {
			return nil // until its handler's queue is read
		}
		due[string(k)] = event.Status(v[0])
		return nil
	})
	if !maps.Equal(due, c.due) {
		c.fail("due = %s; want %s", keysOf(due), keysOf(c.due))
	}
	for name, want := range map[string]map[string]bool{string(bucketInflight): c.inflight, string(bucketParked): c.parked} {
		got := map[string]bool{}
		_ = c.tx.Bucket([]byte(name)).ForEach(func(k, _ []byte) error {
			got[string(k)] = true
			return nil
		})
		if !maps.Equal(got, want) {
			c.fail("%s = %s; want %s", name, keysOf(got), keysOf(want))
		}
	}
}

func keysOf[V any](m map[string]V) string {
	return fmt.Sprintf("%x", slices.Sorted(maps.Keys(m)))
}

// ids compares the index of a sealed segment with its heads.
func (c *consistency) ids(b *segmentBuckets, events uint32) {
	ids := b.root.Bucket(bucketIDs)
	if ids == nil {
		return
	}
	x := newOpenIndex()
	if err := (&DB{log: c.log}).indexHeads(b, x); err != nil {
		c.fail("segment %d: heads: %v", b.first, err)
	}
	want, got := x.sorted(), []idEntry(nil)
	var last []byte
	_ = ids.ForEach(func(k, v []byte) error {
		if binary.LittleEndian.Uint32(v) != checksum(v[4:]) || !bytes.Equal(k[:8], v[4:12]) || bytes.Compare(last, k) >= 0 {
			c.fail("segment %d: a block of its ids is damaged", b.first)
		}
		for v = v[4:]; len(v) > 0; v = v[idSize:] {
			got = append(got, idEntry{binary.BigEndian.Uint64(v), binary.BigEndian.Uint32(v[8:])})
		}
		last = bytes.Clone(k)
		return nil
	})
	if c.thinned { // what is gone may still have its ids
		got = slices.DeleteFunc(got, func(e idEntry) bool { return !slices.Contains(want, e) })
	}
	if !slices.Equal(got, want) {
		c.fail("segment %d: %d ids, want %d of %d events", b.first, len(got), len(want), events)
	}
	filter, err := loadFilter(b.root.Bucket(bucketFilter).Get(keyFilter))
	if err != nil {
		c.fail("segment %d: filter: %v", b.first, err)
		return
	}
	for _, id := range want {
		if !filter.Contains(id.hash) {
			c.fail("segment %d: the filter does not know id %x", b.first, id)
		}
	}
}

// children checks that notes and bodies belong to events of the segment.
func (c *consistency) children(b *segmentBuckets) {
	for _, name := range [][]byte{bucketNotes, bucketBodies} {
		_ = b.root.Bucket(name).ForEach(func(k, _ []byte) error {
			if seq := binary.BigEndian.Uint64(k); len(k) != 12 || seq < b.first || seq >= c.next || !b.has(seq) {
				c.fail("segment %d: %s of event %d", b.first, name, seq)
			}
			return nil
		})
	}
}

func (c *consistency) outbox() {
	db := &DB{names: c.names, log: c.log}
	db.segments.Store(&[]*segment{})
	_ = c.tx.Bucket(bucketSegments).ForEachBucket(func(k []byte) error {
		db.addSegment(&segment{first: binary.BigEndian.Uint64(k)})
		return nil
	})
	r := &snapshot{db: db, tx: c.tx}
	_ = c.tx.Bucket(bucketOutbox).ForEach(func(k, v []byte) error {
		if _, err := r.publication(binary.BigEndian.Uint64(k), v); err != nil && !errors.Is(err, ErrQuarantined) {
			c.fail("outbox row %d: %v", binary.BigEndian.Uint64(k), err)
		}
		return nil
	})
}
