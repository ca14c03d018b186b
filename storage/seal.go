package storage

import (
	"context"
	"errors"
	"slices"
)

// sealFull seals the segments that were full when the store was closed.
func (db *DB) sealFull() {
	list := db.segmentList()
	for i := 0; i+1 < len(list); i++ {
		if list[i].open.Load() != nil {
			db.sealing.Go(func() { db.seal(list[i]) })
		}
	}
}

// seal writes the index of a full segment and lets go of the map. The writer
// only puts what was prepared here.
func (db *DB) seal(s *segment) {
	index, filter, err := seal(s.open.Load().sorted())
	if err == nil {
		err = db.putPatiently(index.size(), func(t *transaction) error { return t.putIndex(s, index) })
	}
	switch {
	case err == nil:
		// A reader that does not see the filter yet has the map: see places.
		db.sift(s, index.hashes)
		s.ids.Store(filter)
		s.open.Store(nil)
	case !errors.Is(err, ErrClosed) && !errors.Is(err, ErrBroken):
		db.log.Error().Err(err).Uint64("segment", s.first).Msg("index of a full segment stays in memory")
	}
}

// putPatiently is try again and again until there is space.
func (db *DB) putPatiently(weight int, apply func(*transaction) error) error {
	for {
		err := db.try(context.Background(), weight, apply)
		if !errors.Is(err, ErrFull) {
			return err
		}
		if !db.pause(spacePause) {
			return ErrClosed
		}
	}
}

// putIndex writes the index of a segment, in place of one whose filter was damaged.
func (t *transaction) putIndex(s *segment, index *sealedIndex) error {
	if !slices.Contains(t.db.segmentList(), s) {
		return nil // dropped meanwhile
	}
	b, err := t.segment(s)
	if err != nil {
		return err
	}
	for _, name := range [][]byte{bucketIDs, bucketFilter} {
		if b.root.Bucket(name) == nil {
			continue
		}
		if err := b.root.DeleteBucket(name); err != nil {
			return err
		}
	}
	ids, err := b.root.CreateBucket(bucketIDs)
	if err != nil {
		return err
	}
	if err := index.write(ids); err != nil {
		return err
	}
	filter, err := b.root.CreateBucket(bucketFilter)
	if err != nil {
		return err
	}
	if err := filter.Put(keyFilter, index.filter); err != nil {
		return err
	}
	s.summary.kept, s.summary.grown = s.summary.whole.Load(), true
	return s.summary.keep(b)
}
