package storage

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// snapshot is a short read transaction.
type snapshot struct {
	db   *DB
	tx   *bolt.Tx
	last *segmentBuckets // the one read last: opening it again takes six lookups
}

// view runs f in a read transaction that sees all that is durable. f must be short:
// while it runs no page that it can see is reused.
func (db *DB) view(ctx context.Context, f func(*snapshot) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.show(ctx); err != nil {
		return err
	}
	return db.viewCommitted(f)
}

// viewCommitted is view of what is committed, for what no new event is part of, or what is
// shown by now. It waits for nobody.
func (db *DB) viewCommitted(f func(*snapshot) error) (err error) {
	defer func() { logPanic(db.log.Debug(), err) }()
	defer recoverPanic(&err)
	err = db.bolt.View(func(tx *bolt.Tx) error {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer db.release(tx.Size())
		return f(&snapshot{db: db, tx: tx})
	})
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	// What a commit that failed left in the file may have been seen.
	return cmp.Or(db.broken(), err)
}

// segment returns the buckets of a segment, [event.ErrNotFound] if it is not
// committed yet.
func (r *snapshot) segment(s *segment) (b *segmentBuckets, err error) {
	defer recoverDamage(&err)
	if r.last != nil && r.last.segment == s {
		return r.last, nil
	}
	segments := r.tx.Bucket(bucketSegments)
	if segments.Bucket(key8(s.first)) == nil {
		return nil, notFound(s.first)
	}
	if err := r.db.walkable(segments, s); err != nil {
		return nil, err
	}
	if b, err = openSegment(segments, s); err == nil {
		r.last = b
	}
	return b, err
}

// of returns the buckets that hold an event, [event.ErrNotFound] if none does
// or it is not committed yet.
func (r *snapshot) of(seq uint64) (*segmentBuckets, error) {
	s := r.db.segmentOf(seq)
	if s == nil {
		return nil, notFound(seq)
	}
	b, err := r.segment(s)
	if err != nil {
		return nil, err
	}
	if !b.has(seq) {
		return nil, notFound(seq)
	}
	return b, nil
}
