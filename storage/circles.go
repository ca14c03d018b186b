package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	bolt "go.etcd.io/bbolt"
)

// circles looks for branch pages that lead back to one above them: bbolt would walk
// round for ever, or until memory is used up. It reads the branches of a tree and not
// its leaves, which are a hundred times as many: all leaves lie equally deep, so that
// one of each level tells whether the others are leaves, and what is named as a leaf
// must not be one of the branches. What else is wrong with a page is for bbolt to
// find, and ends where it does.
type circles struct {
	f               io.ReaderAt
	pageSize, pages uint64
}

func (db *DB) circles(tx *bolt.Tx) circles {
	return circles{f: db.file, pageSize: uint64(db.pageSize), pages: uint64(tx.Size()) / uint64(db.pageSize)}
}

// of returns [ErrCorrupt] when there is a circle below a bucket's root page.
func (c circles) of(root uint64) error {
	seen := map[uint64]bool{}
	level := []uint64{root}
	for depth := 0; len(level) > 0; depth++ {
		var next []uint64
		found := false
		for i, id := range level {
			if seen[id] || depth > maxDepth {
				return fmt.Errorf("%w: %w: page %d leads back to itself", ErrCorrupt, errDamaged, id)
			}
			if i > 0 && !found {
				continue // a leaf, as the first is
			}
			if children, branch := c.children(id); branch {
				found = true
				seen[id] = true
				next = append(next, children...)
			}
		}
		level = next
	}
	return nil
}

// children returns what a branch page leads to; false when it is none.
func (c circles) children(id uint64) (list []uint64, branch bool) {
	m := fileMeta{pageSize: uint32(c.pageSize), pages: c.pages} // as it was read
	p, err := inspectPage(c.f, &m, id, flagBranch)
	if err != nil {
		return nil, false
	}
	b := make([]byte, pageElement*int(p.count))
	if _, err := c.f.ReadAt(b, int64(id*c.pageSize)+pageHeader); err != nil { // inside the file
		return nil, false
	}
	for ; len(b) > 0; b = b[pageElement:] {
		list = append(list, binary.LittleEndian.Uint64(b[8:]))
	}
	return list, true
}

// ofParts is of for a bucket and those in it.
func (c circles) ofParts(b *bolt.Bucket) error {
	if err := c.of(uint64(b.RootPage())); err != nil {
		return err
	}
	return b.ForEachBucket(func(k []byte) error { return c.of(uint64(b.Bucket(k).RootPage())) })
}

// What is known of the pages of a segment.
const (
	unwalked int32 = iota
	sound
	circular
)

// walkable returns [ErrCorrupt] when there is a circle in the pages of a segment.
// They are looked at once, before they are used the first time.
func (db *DB) walkable(segments *bolt.Bucket, s *segment) error {
	switch s.walked.Load() {
	case sound:
		return nil
	case circular:
		return fmt.Errorf("%w: %w: segment %d has pages that lead back to themselves", ErrCorrupt, errDamaged, s.first)
	}
	root := segments.Bucket(key8(s.first))
	if root == nil {
		return nil // not committed yet, or gone
	}
	if err := db.circles(segments.Tx()).ofParts(root); err != nil {
		s.walked.Store(circular)
		db.log.Error().Err(err).Uint64("segment", s.first).Msg("a segment is damaged: its events are not to be had")
		return err
	}
	s.walked.Store(sound)
	return nil
}

// walk looks at the pages of all segments after a start, those of the newest first: so
// that who looks for an old event need not wait for that.
func (db *DB) walk() {
	list := db.segmentList()
	for i := len(list) - 1; i >= 0; i-- {
		began := time.Now()
		_ = db.viewCommitted(func(r *snapshot) error { // walkable tells what is wrong
			_, err := r.segment(list[i])
			return err
		})
		if !db.rest(began) {
			return
		}
	}
}

// walkableIndexes is walkable for the buckets beside the segments.
func (db *DB) walkableIndexes(tx *bolt.Tx) error {
	c := db.circles(tx)
	return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		if err := c.of(uint64(b.RootPage())); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
		return nil
	})
}
