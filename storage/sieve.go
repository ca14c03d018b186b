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

// add puts an id into columns.
func (s *sieve) add(hash, columns uint64) {
	step := bits.RotateLeft64(hash, 32) | 1
	for range sieveBits {
		atomic.OrUint64(&s.rows[hash%sieveRows], columns)
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
	for _, h := range hashes {
		c.sieve.add(h, c.bit)
	}
	s.column.Store(c)
}

// siftSealed is sift for a segment that was sealed before the start. Where its index
// cannot be read it has no place.
func (db *DB) siftSealed(s *segment) error {
	filter := s.ids.Load()
	if filter == nil || s.open.Load() != nil || !db.sifts(filter.slots()) {
		return nil
	}
	hashes := make([]uint64, 0, filter.slots())
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
			b, ok := idsOf(v)
			if !ok {
				return errDamaged
			}
			for ; len(b) > 0; b = b[idSize:] {
				hashes = append(hashes, binary.BigEndian.Uint64(b))
			}
			return nil
		})
	})
	if err == nil {
		db.sift(s, hashes)
	}
	return err
}
