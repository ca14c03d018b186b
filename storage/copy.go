package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	bolt "go.etcd.io/bbolt"
)

// Progress is told now and then how far long work has come: in bytes, or in
// events where its name says so.
type Progress func(stage string, done, total int64)

func (p Progress) tell(stage string, done, total int64) {
	if p != nil {
		p(stage, done, total)
	}
}

// copyPiece is how many bytes of keys and values are copied in one transaction.
const copyPiece = 8 << 20

// fillPercent is how full the pages of a bucket are made, as where it was
// written first: what is written in order and seldom grows fills them.
func fillPercent(path [][]byte) float64 {
	if len(path) < 3 || !bytes.Equal(path[0], bucketSegments) {
		return 0.9
	}
	if bytes.Equal(path[2], bucketIDs) {
		return 1
	}
	return 0.95
}

// copier writes what a tree visits into another file.
type copier struct {
	to     *bolt.DB
	tx     *bolt.Tx
	path   [][]byte
	bucket *bolt.Bucket // at path; nil after a commit
	size   int
}

func (c *copier) enter(path [][]byte, sequence uint64) error {
	if err := c.begin(); err != nil {
		return err
	}
	b, err := c.open(path[:len(path)-1])
	if err != nil {
		return err
	}
	create := c.tx.CreateBucketIfNotExists
	if b != nil {
		create = b.CreateBucketIfNotExists
	}
	n, err := create(path[len(path)-1])
	if err != nil {
		return err
	}
	c.bucket = nil
	return n.SetSequence(sequence)
}

func (c *copier) put(path [][]byte, k, v []byte) error {
	if len(path) == 0 || len(k) == 0 {
		return nil // bbolt has no such entries
	}
	if err := c.begin(); err != nil {
		return err
	}
	if c.bucket == nil || !samePath(c.path, path) {
		b, err := c.open(path)
		if err != nil {
			return err
		}
		b.FillPercent = fillPercent(path)
		c.path, c.bucket = slices.Clone(path), b
	}
	if c.size += len(k) + len(v); c.size > copyPiece {
		if err := c.bucket.Put(k, v); err != nil {
			return err
		}
		return c.commit()
	}
	return c.bucket.Put(k, v)
}

func samePath(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

var errNoBucket = errors.New("no such bucket")

// open returns the bucket at a path, nil for the root.
func (c *copier) open(path [][]byte) (b *bolt.Bucket, err error) {
	for i, name := range path {
		if i == 0 {
			b = c.tx.Bucket(name)
		} else {
			b = b.Bucket(name)
		}
		if b == nil {
			return nil, fmt.Errorf("%w: %s", errNoBucket, pathName(path[:i+1]))
		}
	}
	return b, nil
}

func (c *copier) begin() (err error) {
	if c.tx == nil {
		c.tx, err = c.to.Begin(true)
	}
	return err
}

func (c *copier) commit() error {
	if c.tx == nil {
		return nil
	}
	tx := c.tx
	c.tx, c.bucket, c.size = nil, nil, 0
	return tx.Commit()
}

// contents sums up what a tree visits, so that two files can be compared
// whatever their pages are.
type contents struct {
	sum  *xxhash.Digest
	path [][]byte
}

func newContents() *contents { return &contents{sum: xxhash.New()} }

func (c *contents) add(parts ...[]byte) {
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		_, _ = c.sum.Write(n[:]) // never fails
		_, _ = c.sum.Write(p)
	}
}

func (c *contents) enter(path [][]byte, sequence uint64) {
	c.path = nil
	c.add([]byte("bucket"), key8(sequence))
	c.add(path...)
}

func (c *contents) put(path [][]byte, k, v []byte) {
	if !samePath(c.path, path) {
		c.path = slices.Clone(path)
		c.add([]byte("in"))
		c.add(path...)
	}
	c.add(k, v)
}

// openTree returns the tree of a file that nobody writes to: that of its newest
// meta page.
func openTree(ctx context.Context, f file) (*tree, error) {
	m, _, err := inspectPages(f)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return &tree{ctx: ctx, f: f, meta: m, damage: func(path [][]byte, what string) error {
		return fmt.Errorf("%w: %s: %s", ErrCorrupt, pathName(path), what)
	}}, nil
}

// watched ends reading when ctx does and tells how far it has come.
type watched struct {
	file
	ctx      context.Context
	progress Progress
	stage    string
	done     int64
	total    int64
	told     time.Time
}

// ReadAt implements [io.ReaderAt].
func (w *watched) ReadAt(p []byte, at int64) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.file.ReadAt(p, at)
	if n > pageHeader {
		w.done += int64(n)
		w.tell()
	}
	return n, err
}

// tellEvery is how often progress is told.
const tellEvery = 100 * time.Millisecond

func (w *watched) tell() {
	if now := time.Now(); now.Sub(w.told) >= tellEvery {
		w.told = now
		w.progress.tell(w.stage, min(w.done, w.total), w.total)
	}
}

func watch(ctx context.Context, f *os.File, p Progress, stage string) (*watched, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &watched{file: f, ctx: ctx, progress: p, stage: stage, total: fi.Size()}, nil
}

// copyTree writes all that a tree holds into a new file, which is on disk when
// it returns, and returns the sum of it. What bbolt does not take is passed over
// where unfit, if not nil, says so.
func copyTree(t *tree, to string, unfit func(path [][]byte, err error) bool) (sum uint64, err error) {
	b, err := bolt.Open(to, 0o600, &bolt.Options{
		Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoSync: true, NoGrowSync: true,
	})
	if err != nil {
		return 0, err
	}
	defer b.Close() // what counts is synced below
	c, all := &copier{to: b}, newContents()
	t.bucket = func(path [][]byte, sequence uint64) error {
		all.enter(path, sequence)
		if err := c.enter(path, sequence); err != nil && (unfit == nil || !unfit(path, err)) {
			return err
		}
		return nil
	}
	t.entry = func(path [][]byte, k, v []byte) error {
		all.put(path, k, v)
		if err := c.put(path, k, v); err != nil && (unfit == nil || !unfit(path, err)) {
			return err
		}
		return nil
	}
	if err := t.walk(); err != nil {
		if c.tx != nil {
			_ = c.tx.Rollback()
		}
		return 0, err
	}
	if err := c.commit(); err != nil {
		return 0, err
	}
	return all.sum.Sum64(), b.Sync()
}

// sumOf returns the sum of what a file holds.
func sumOf(ctx context.Context, path string, p Progress) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // read only
	w, err := watch(ctx, f, p, "verifying")
	if err != nil {
		return 0, err
	}
	t, err := openTree(ctx, w)
	if err != nil {
		return 0, err
	}
	all := newContents()
	t.bucket = func(path [][]byte, sequence uint64) error { all.enter(path, sequence); return nil }
	t.entry = func(path [][]byte, k, v []byte) error { all.put(path, k, v); return nil }
	err = t.walk()
	return all.sum.Sum64(), err
}
