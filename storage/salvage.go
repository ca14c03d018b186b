package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Salvaged tells what was saved of a damaged store and what was not.
type Salvaged struct {
	Loaded
	// Damages is how many things could not be read; the first 1,000 are listed.
	Damages int      `json:"damages"`
	Damaged []string `json:"damaged"`
}

// Salvage makes a new store of what can be read of a damaged file, which stays
// as it is. Nothing may be at out, and twice the size of the file is needed
// beside it. What cannot be read is listed; an event of which something is missing
// is ERROR `quarantined` there, so that it is handed out to nobody before a
// person has looked at it.
//
// Errors: [ErrUnavailable], [ErrNewer], [ErrExists], and [ErrCorrupt] when the
// file is no store, or nothing of it can be read.
func Salvage(ctx context.Context, o CommandOptions, out string) (s Salvaged, err error) {
	o.complete()
	s.Damaged = []string{}
	if err := inspectName(o.Path); err != nil {
		return s, err
	}
	if _, err := vacant(out, o.LockTimeout, false); err != nil {
		return s, err
	}
	release, err := lockAny(o.Path, o.LockTimeout)
	if err != nil {
		return s, err
	}
	defer release()
	part, err := makePart(out, partSalvage)
	if err != nil {
		return s, err
	}
	defer os.Remove(part)
	if err := s.pages(ctx, &o, part); err != nil {
		return s, err
	}
	return s, s.records(ctx, &o, part, out)
}

func (s *Salvaged) lose(format string, args ...any) {
	if s.Damages++; s.Damages <= maxListed {
		s.Damaged = append(s.Damaged, fmt.Sprintf(format, args...))
	}
}

// pages copies what the readable pages hold into a file with sound ones.
func (s *Salvaged) pages(ctx context.Context, o *CommandOptions, part string) error {
	f, err := os.Open(o.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer f.Close() // read only
	w, err := watch(ctx, f, o.Progress, "pages")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m, err := s.readableMeta(w)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, o.Path, err)
	}
	if err := needSpace(filepath.Dir(part), w.total); err != nil {
		return err
	}
	if err := inspectFreelist(w, &m); err != nil {
		s.lose("list of free pages: %v; it holds no records", err)
	}
	t := &tree{ctx: ctx, f: w, meta: m, damage: func(path [][]byte, what string) error {
		s.lose("bucket %q: %s", pathName(path), what)
		return nil
	}}
	if _, err := copyTree(t, part, s.unfit); err != nil {
		return err
	}
	return s.mend(o.Path, part)
}

// readableMeta returns the newest meta page with a root that can be read.
func (s *Salvaged) readableMeta(f file) (fileMeta, error) {
	newest, valid := newestMeta(f)
	if valid == 0 || newest.pageSize == 0 {
		return newest, errors.New("not an eventd store, or its first pages are damaged")
	}
	if valid == 1 {
		s.lose("one of the two first pages is damaged: if it was the newer one, the last commit is missing")
	}
	fi, err := f.Stat()
	if err != nil {
		return newest, err
	}
	if size, want := fi.Size(), int64(newest.pages)*int64(newest.pageSize); size < want {
		s.lose("the file is cut short: %d bytes, of %d", size, want)
	}
	if _, err = inspectPage(f, &newest, newest.root, flagBranch|flagLeaf); err == nil {
		return newest, nil
	}
	for _, at := range []int64{0, int64(newest.pageSize)} {
		older, ok := readMeta(f, at)
		if !ok || older.txid >= newest.txid {
			continue
		}
		if _, olderErr := inspectPage(f, &older, older.root, flagBranch|flagLeaf); olderErr == nil {
			s.lose("the root of the last commit is damaged (%v): this is what was there before it", err)
			return older, nil
		}
	}
	return newest, fmt.Errorf("root page: %w", err)
}

// unfit takes note of a key that a sound file cannot have, and reports whether
// that was it.
func (s *Salvaged) unfit(path [][]byte, err error) bool {
	for _, of := range []error{
		bolterrors.ErrIncompatibleValue, bolterrors.ErrKeyRequired, bolterrors.ErrKeyTooLarge,
		bolterrors.ErrValueTooLarge, bolterrors.ErrBucketNameRequired, errNoBucket,
	} {
		if errors.Is(err, of) {
			s.lose("bucket %q: %v", pathName(path), err)
			return true
		}
	}
	return false
}

// mend gives the file the buckets that every store has, so that what is there
// can be read without them.
func (s *Salvaged) mend(path, part string) error {
	b, err := bolt.Open(part, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer b.Close() // what counts is committed
	if err := identify(b); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return b.Update(func(tx *bolt.Tx) error {
		for _, name := range topBuckets {
			if tx.Bucket(name) != nil {
				continue
			}
			s.lose("bucket %q is missing", name)
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := s.mendSegments(tx.Bucket(bucketSegments)); err != nil {
			return err
		}
		return s.mendNames(tx.Bucket(bucketNames))
	})
}

func (s *Salvaged) mendSegments(segments *bolt.Bucket) error {
	var odd [][]byte
	err := segments.ForEachBucket(func(k []byte) error {
		if len(k) != 8 {
			odd = append(odd, k)
			return nil
		}
		root := segments.Bucket(k)
		for _, name := range [][]byte{bucketHeads, bucketPayloads, bucketStates, bucketNotes, bucketBodies} {
			if root.Bucket(name) != nil {
				continue
			}
			s.lose("bucket %q is missing", pathName([][]byte{bucketSegments, k, name}))
			if _, err := root.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	for _, k := range odd {
		s.lose("bucket %q is no segment", pathName([][]byte{bucketSegments, k}))
		err = errors.Join(err, segments.DeleteBucket(k))
	}
	return err
}

// mendNames puts something in the place of names that are lost: what is for such
// a handler waits as for one that is gone.
func (s *Salvaged) mendNames(b *bolt.Bucket) error {
	n := uint64(0)
	if k, _ := b.Cursor().Last(); len(k) == 8 {
		n = min(binary.BigEndian.Uint64(k)+1, 2*maxNames)
	}
	for i := range n {
		if _, err := unsealed(b.Get(key8(i))); err == nil {
			continue
		}
		instead := fmt.Sprintf("lost-name-%d", i)
		s.lose("name %d, of a handler, route or service, is damaged: it is %s now", i, instead)
		if err := b.Put(key8(i), sealed([]byte(instead))); err != nil {
			return err
		}
	}
	return nil
}

// records leads what is in the mended file through a dump into the new store.
func (s *Salvaged) records(ctx context.Context, o *CommandOptions, part, out string) error {
	r, err := openReading(part, o.LockTimeout)
	if err != nil {
		return err
	}
	defer r.close()
	from, to := io.Pipe()
	dumped := make(chan Dumped, 1)
	go func() {
		d, err := r.dump(ctx, o.Progress, to, time.Now().UTC())
		_ = to.CloseWithError(err) // nil is the end of the file; it never fails
		dumped <- d
	}()
	put := PutOptions{CommandOptions: CommandOptions{Path: out, LockTimeout: o.LockTimeout}}
	s.Loaded, err = Load(ctx, put, from)
	_ = from.CloseWithError(err) // lets go of the other side; it never fails
	d := <-dumped
	for _, what := range d.Damaged {
		s.lose("%s", what)
	}
	s.Damages += d.Damages - len(d.Damaged)
	return err
}
