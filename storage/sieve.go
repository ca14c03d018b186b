package storage

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// A new id is looked for in every segment, and of those there are many: a filter of its
// own for each costs 25 ns and more, which add up. A sieve says of 64 segments at once
// which of them may have an id, in a few reads of memory. It is wrong for one in forty,
// or seven where each event has two ids; what it lets through the filter of the segment
// looks at.
const (
	sieveRows    = 1 << 19 // of one bit for each segment
	sieveBits    = 4       // that an id sets
	sieveColumns = 64
	// sieveSlots is how large the filter of a segment is that has a place in a sieve:
	// half of a full one. Of smaller ones there are not as many.
	sieveSlots = segmentEvents / 2
	// sieveSegments is how many segments there are before any has a place: a few are asked
	// as quickly, and a sieve takes 4 MiB.
	sieveSegments = 8
)

// sieve is made of columns that are added one after the other.
type sieve struct{ rows []uint64 }

// column is where a segment stands in a sieve, once all of its ids are in it.
type column struct {
	sieve *sieve
	bit   uint64
}

// holding returns the columns that may have an id.
func (s *sieve) holding(hash uint64) uint64 {
	found, step := ^uint64(0), bits.RotateLeft64(hash, 32)|1
	for range sieveBits {
		found &= atomic.LoadUint64(&s.rows[hash%sieveRows])
		hash += step
	}
	return found
}

// add puts ids, by the rows they have, into columns.
func (s *sieve) add(r *rowSet, columns uint64) {
	for i, rows := range r {
		for ; rows != 0; rows &= rows - 1 {
			atomic.OrUint64(&s.rows[i*64+bits.TrailingZeros64(rows)], columns)
		}
	}
}

// rowSet says in which rows some ids have a bit, 64 rows a word. It fits a processor's
// cache, which a sieve does not: the ids of a segment are put into one first.
type rowSet [sieveRows / 64]uint64

func (r *rowSet) add(hash uint64) {
	step := bits.RotateLeft64(hash, 32) | 1
	for range sieveBits {
		row := hash % sieveRows
		r[row/64] |= 1 << (row % 64)
		hash += step
	}
}

// sifts reports whether a segment with so many ids is worth a place.
func (db *DB) sifts(ids int) bool {
	return ids >= db.options.sieveSlots && len(db.segmentList()) >= sieveSegments
}

// sift gives a sealed segment a place in a sieve. hashes are those of all its ids.
func (db *DB) sift(s *segment, hashes []uint64) {
	if !db.sifts(len(hashes)) {
		return
	}
	var rows rowSet
	for _, hash := range hashes {
		rows.add(hash)
	}
	db.giveColumn(s, &rows)
}

// giveColumn gives a segment a place in a sieve, with the rows of all its ids.
func (db *DB) giveColumn(s *segment, rows *rowSet) {
	db.sieving.Lock()
	defer db.sieving.Unlock()
	if s.column.Load() != nil {
		return
	}
	if db.columns%sieveColumns == 0 {
		db.sieve = &sieve{rows: make([]uint64, sieveRows)} // the one before lives as long as its segments
	}
	c := &column{db.sieve, 1 << (db.columns % sieveColumns)}
	db.columns++
	c.sieve.add(rows, c.bit)
	s.column.Store(c)
}

// siftAll is sift for the segments that were sealed before the start, those of the newest
// first. It waits until new ids are looked for: there may be none for long.
func (db *DB) siftAll() {
	select {
	case <-db.closing:
		return
	case <-db.sought:
	}
	list := db.segmentList()
	for i := len(list) - 1; i >= 0 && !db.ending(); i-- {
		_ = db.siftSealed(list[i]) // what is damaged is told when it is looked for there
	}
}

// siftSealed reads the ids of a segment from its index. Where that is damaged the segment
// has no place.
func (db *DB) siftSealed(s *segment) error {
	filter := s.ids.Load()
	if filter == nil || s.open.Load() != nil || !db.sifts(filter.slots()) {
		return nil
	}
	var rows rowSet
	err := db.viewCommitted(func(r *snapshot) error {
		b, err := r.segment(s)
		if err != nil {
			return err
		}
		ids := b.root.Bucket(bucketIDs)
		if ids == nil {
			return errDamaged
		}
		return ids.ForEach(func(_, v []byte) error {
			entries, ok := idsOf(v)
			if !ok {
				return errDamaged
			}
			for ; len(entries) > 0; entries = entries[idSize:] {
				rows.add(binary.BigEndian.Uint64(entries))
			}
			return nil
		})
	})
	if err == nil {
		db.giveColumn(s, &rows)
	}
	return err
}
