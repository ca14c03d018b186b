package storage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// compactAbove is the size up to which a store is left alone at its start.
const compactAbove = 64 << 20

// CommandOptions are what the commands that work on a file have in common.
type CommandOptions struct {
	Path        string        // the file
	LockTimeout time.Duration // how long to wait for another process; 0: 5s
	Progress    Progress      // nil for nobody
}

func (o *CommandOptions) complete() {
	if o.LockTimeout == 0 {
		o.LockTimeout = 5 * time.Second
	}
}

// Compacted tells what a compaction came to, in bytes.
type Compacted struct {
	Before int64 `json:"bytes_before"`
	After  int64 `json:"bytes_after"`
}

// Compact writes a store anew without its free space and puts it in the place
// of the old one, which is what it was until the new one is whole, read again
// and on disk: after a crash at any moment one of the two is there. No other
// process may have the file. It needs as much space as it leaves in use.
//
// Errors: [ErrUnavailable], [ErrNewer], and [ErrCorrupt] when a page is damaged:
// see [Salvage]. The file is then as it was. Damaged records are copied as they are.
func Compact(ctx context.Context, o CommandOptions) (c Compacted, err error) {
	o.complete()
	b, f, err := openExisting(&Options{Path: o.Path, LockTimeout: o.LockTimeout})
	if err != nil {
		return c, err
	}
	defer b.Close() // nothing was written through it
	if c.Before, err = sizeOf(o.Path); err != nil {
		return c, err
	}
	if err := compact(ctx, o.Path, b, f, o.Progress); err != nil {
		return c, err
	}
	c.After, err = sizeOf(o.Path)
	return c, err
}

func sizeOf(path string) (int64, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fi.Size(), nil
}

// compact does what [Compact] says. The caller has the file open, and locked: the
// lock is on the old file even afterwards.
func compact(ctx context.Context, path string, b *bolt.DB, f *os.File, p Progress) error {
	if err := needSpace(filepath.Dir(path), inUse(b, f)); err != nil {
		return err
	}
	part, err := makePart(path, partCompact)
	if err != nil {
		return err
	}
	defer os.Remove(part) // not there any more when it has taken its place
	if err := copyStore(ctx, path, part, p); err != nil {
		return fmt.Errorf("compact %s: %w", path, err)
	}
	if err := loadable(part); err != nil {
		return fmt.Errorf("compact %s: %w", path, err)
	}
	if err := replace(part, path); err != nil {
		return fmt.Errorf("%w: compact: %w", ErrUnavailable, err)
	}
	return nil
}

// copyStore copies what a file holds into another, but for what was dropped, and
// reads it again there.
func copyStore(ctx context.Context, from, to string, p Progress) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	w, err := watch(ctx, f, p, "copying")
	if err != nil {
		return err
	}
	t, err := openTree(ctx, w)
	if err != nil {
		return err
	}
	t.follow = func(path [][]byte) bool { return !bytes.Equal(path[0], bucketDropped) }
	sum, err := copyTree(t, to, nil)
	if err != nil {
		return err
	}
	again, err := sumOf(ctx, to, p)
	if err == nil && again != sum {
		err = fmt.Errorf("%s: what was written is not what is read", to)
	}
	return err
}

// inUse returns how many bytes of an opened file are neither free nor of segments
// that were dropped.
func inUse(b *bolt.DB, f *os.File) int64 {
	m, _ := newestMeta(f)
	var dropped int64
	if err := recovered(func() error { return b.View(func(tx *bolt.Tx) error { dropped = droppedBytes(tx); return nil }) }); err != nil {
		dropped = 0 // whoever reads that page next says so
	}
	return (int64(m.pages)-int64(b.Stats().FreePageN))*int64(m.pageSize) - dropped
}

// recovered does what may meet a damaged page.
func recovered(do func() error) (err error) {
	defer recoverPanic(&err)
	return do()
}

// mostlyFree reports whether a file is larger than above and at least half of it
// is free.
func mostlyFree(b *bolt.DB, f *os.File, above int64) bool {
	fi, err := f.Stat()
	return err == nil && fi.Size() > above && inUse(b, f) < fi.Size()/2
}

// compactAtStart compacts the opened file of a store and opens the new one. When
// it cannot be done the store goes on with the old one.
func compactAtStart(o *Options, b *bolt.DB, f *os.File) (*bolt.DB, *os.File, error) {
	log, started := o.Log, time.Now()
	log.Info().Str("path", o.Path).Msg("more than half of the store is free: it is compacted")
	told := started
	err := compact(context.Background(), o.Path, b, f, func(stage string, done, total int64) {
		if now := time.Now(); now.Sub(told) > 5*time.Second {
			told = now
			log.Info().Str("stage", stage).Int64("percent", 100*done/max(total, 1)).Msg("the store is being compacted")
		}
	})
	if err != nil {
		log.Warn().Err(err).Msg("the store is not compacted and goes on as it is")
		return b, f, nil
	}
	log.Info().Dur("took", time.Since(started)).Msg("the store is compacted")
	if err := b.Close(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return openExisting(o)
}
