package storage

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// loadSegments reads what is known in memory about each segment: counts, and
// the index of its ids or the filter that stands for it.
func (db *DB) loadSegments(segments *bolt.Bucket) error {
	db.nextSeq = 1
	return segments.ForEachBucket(func(k []byte) error {
		s := newSegment(binary.BigEndian.Uint64(k))
		if err := db.loadable(segments.Bucket(k)); err != nil {
			return fmt.Errorf("segment %d: %w", s.first, err)
		}
		b, err := openSegment(segments, s)
		if err != nil {
			return err
		}
		if s.info, err = decodeInfo(b.root.Get(keyInfo)); err != nil {
			db.log.Warn().Uint64("segment", s.first).Msg("counts of a segment are damaged and counted anew")
			if err := db.walkable(segments, s); err != nil {
				return err
			}
			s.info = recount(b.states, s.first)
		}
		s.publish()
		if !db.loadFilter(b) {
			x := newOpenIndex()
			if err := db.walkable(segments, s); err != nil {
				return err
			}
			if err := db.indexHeads(b, x); err != nil {
				return fmt.Errorf("%w: heads of segment %d: %w", ErrCorrupt, s.first, err)
			}
			b.open.Store(x)
		}
		db.addSegment(s)
		db.nextSeq = s.first + uint64(s.info.events)
		return nil
	})
}

// loadable reports a circle in what is read of each segment when the store is
// opened: the others are looked at when they are used, see walkable.
func (db *DB) loadable(root *bolt.Bucket) error {
	c := db.circles(root.Tx())
	if err := c.of(uint64(root.RootPage())); err != nil {
		return err
	}
	if f := root.Bucket(bucketFilter); f != nil {
		return c.of(uint64(f.RootPage()))
	}
	return nil
}

// loadFilter reads the filter of a sealed segment. Without one the index is
// rebuilt from the heads, which also mends a damaged filter.
func (db *DB) loadFilter(b *segmentBuckets) bool {
	f := b.root.Bucket(bucketFilter)
	if f == nil {
		return false
	}
	filter, err := readFilter(f)
	if err != nil {
		db.log.Warn().Uint64("segment", b.first).Msg("index of a segment is damaged and kept in memory instead")
		return false
	}
	b.ids.Store(filter)
	b.summary.load(f.Get(keySummary))
	return true
}

// rebuildIndex makes the index of a sealed segment anew, in memory, as far as
// its heads can be read.
func (db *DB) rebuildIndex(b *segmentBuckets) {
	x := newOpenIndex()
	if err := db.indexHeads(b, x); err != nil {
		db.log.Error().Err(err).Uint64("segment", b.first).Msg("events of a segment are damaged: some cannot be found by id")
	}
	b.open.Store(x)
}

func (db *DB) indexHeads(b *segmentBuckets, x *openIndex) (err error) {
	defer recoverDamage(&err)
	c := b.heads.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		offset := binary.BigEndian.Uint64(k) - b.first
		n, err := blockCount(v)
		if err != nil {
			db.log.Error().Uint64("seq", b.first+offset).Msg("a block of events is damaged: they cannot be found by id")
			continue
		}
		for i := range n {
			indexHead(x, v, i, uint32(offset+i)) // below segmentEvents
		}
	}
	return nil
}

func indexHead(x *openIndex, v []byte, i uint64, offset uint32) {
	h, err := blockRecord(v, i)
	if err != nil {
		return // shown as quarantined when it is read
	}
	if id, correlation, _, err := headIDs(h); err == nil {
		x.addHead(id, correlation, offset)
	}
}

// loadQueues counts what waits for each handler.
func (db *DB) loadQueues(due *bolt.Bucket) {
	c := due.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r, ok := readDueRun(k, v)
		if !ok {
			continue
		}
		if name, ok := db.names.name(r.handler); ok {
			db.waiting(name).add(r.status, int64(r.n)) // at most maxDueRun
		}
	}
}

// loadLines counts what waits in line, besides those whose turn it is: they are
// in the schedule.
func (db *DB) loadLines(bucket *bolt.Bucket) {
	if bucket == nil {
		return
	}
	var of line
	var turn spot
	c := bucket.Cursor()
	for k, v := c.Seek([]byte{linePlace}); k != nil && k[0] == linePlace; k, v = c.Next() {
		x, ok := readStander(k, v)
		l, _ := readLine(k)
		if !ok || !x.waits() {
			continue
		}
		if l != of {
			of = l
			turn, _ = lines{bucket}.turn(&l)
		}
		if name, ok := db.names.name(l.handler); ok && x.spot != turn {
			db.waiting(name).add(x.status, 1)
		}
	}
}
