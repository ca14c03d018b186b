package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// mapSize is the address space set aside for the file, so that the writer
// need not wait for readers when it grows. It costs no memory.
const mapSize = 8 << 30

// growStep is by how much bbolt lets the file grow when it was not extended in
// time: with a sync, and without bytes. See [DB.extend].
const growStep = 4 << 20

// openStore returns the opened file of a store, which is made if it is missing.
// A file that cannot be used is left as it was.
func openStore(o *Options) (*bolt.DB, *os.File, error) {
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if _, err := os.Stat(o.Path); errors.Is(err, fs.ErrNotExist) {
		if err := makeStore(o.Path); err != nil {
			return nil, nil, fmt.Errorf("%w: create %s: %w", ErrUnavailable, o.Path, err)
		}
	}
	b, f, err := openExisting(o)
	if err != nil {
		return nil, nil, err
	}
	removeLeftovers(o)
	if !mostlyFree(b, f, o.compactAbove) {
		return b, f, nil
	}
	return compactAtStart(o, b, f)
}

// openExisting returns the opened file of a store that is there, which no other
// process has open then. One that cannot be used is left as it was.
// freelist takes the lowest free pages that fit. The map takes any, and leaves holes: the
// file grows though much of it is free. The array is searched from its beginning, so
// it must be short: what is dropped is deleted only when pages are needed.
const freelist = bolt.FreelistArrayType

func openExisting(o *Options) (*bolt.DB, *os.File, error) {
	whole, err := inspect(o.Path, o.LockTimeout)
	if err != nil {
		return nil, nil, err
	}
	if !whole {
		o.Log.Warn().Str("path", o.Path).Msg("one of the two first pages of the store is damaged, as by a crash in a commit: if it was the newer one, the last commit is missing")
	}
	b, f, err := openFile(o.Path, &bolt.Options{
		Timeout: o.LockTimeout, FreelistType: freelist, InitialMmapSize: mapSize,
	})
	if err == nil {
		b.AllocSize = growStep
	}
	return b, f, err
}

// openFile opens a bbolt file that exists. The second result is bbolt's own
// handle, to let go of the file when bbolt cannot.
//
// Who waits for the lock may get it when another process has put a new file in
// this one's place, as a compaction does. Then it is the lock of a file that has
// no name any more, and the new one is opened instead.
func openFile(path string, o *bolt.Options) (b *bolt.DB, f *os.File, err error) {
	for {
		if b, f, err = openNamed(path, o); err != nil || inPlace(path, f) {
			return b, f, err
		}
		_ = b.Close() // nothing was written to it
	}
}

// inPlace reports whether a file still has its name.
func inPlace(path string, f *os.File) bool {
	named, err := os.Stat(path)
	if err != nil {
		return true // whoever took it away put nothing in its place
	}
	open, err := f.Stat()
	return err != nil || os.SameFile(named, open)
}

func openNamed(path string, o *bolt.Options) (b *bolt.DB, f *os.File, err error) {
	o.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		var err error
		f, err = os.OpenFile(name, flag&^os.O_CREATE, mode) // the configured store
		return f, err
	}
	if b, err = openBolt(path, o); err != nil {
		if f != nil {
			_ = f.Close() // a panic left it open
		}
		return nil, nil, openError(path, o.Timeout, err)
	}
	return b, f, nil
}

func openBolt(path string, o *bolt.Options) (b *bolt.DB, err error) {
	defer recoverPanic(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return bolt.Open(path, 0o600, o)
}

// openError says in one line why a file cannot be opened. What the operating
// system refuses is unavailable; what bbolt makes no sense of is corrupt.
func openError(path string, waited time.Duration, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: %s is locked by another process (waited %s)", ErrUnavailable, path, waited)
	case errors.As(err, &errno):
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, path, err)
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("%s: %w", path, err)
	default:
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
}

// makeStore makes a store beside its place and links it there when it is whole:
// a crash or a full disk then leaves no part of a file that would look like a
// damaged store.
func makeStore(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	name := f.Name()
	defer os.Remove(name) // a leftover is harmless
	if err := errors.Join(f.Close(), makeFile(name)); err != nil {
		return err
	}
	switch err := os.Link(name, path); {
	case err == nil:
		return SyncFolder(filepath.Dir(path))
	case errors.Is(err, fs.ErrExist):
		return nil // another process was quicker; what it made is inspected next
	default:
		return makeFile(path) // a file system without links
	}
}

// makeFile writes the buckets of a new store.
func makeFile(path string) error {
	b, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	return errors.Join(b.Update(writeLayout), b.Close())
}

func writeLayout(tx *bolt.Tx) error {
	for _, name := range topBuckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(
		makeJournal(tx),
		meta.Put(keyApplication, []byte(application)),
		meta.Put(keySchema, key8(Schema)),
		meta.Put(keyStoreID, []byte(uuid.NewString())),
	)
}

// SyncFolder makes the names of new files in a folder outlast a loss of power.
func SyncFolder(path string) error {
	f, err := os.Open(path) // the configured store
	if err != nil {
		return err
	}
	defer f.Close() // read only
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err // EINVAL: a file system that cannot, and need not
	}
	return nil
}

// recoverPanic turns a panic of the storage engine, which a damaged page
// causes, into an error of one line.
func recoverPanic(err *error) {
	if p := recover(); p != nil {
		*err = &panicError{value: p, stack: debug.Stack()}
	}
}

// panicError is what recoverPanic makes of a panic. It is an [ErrCorrupt].
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("%v: damaged page: %v", ErrCorrupt, e.value) }
func (e *panicError) Unwrap() error { return ErrCorrupt }

// recoverDamage turns a panic over a damaged page into a damaged record.
func recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %w: %v", ErrCorrupt, errDamaged, p)
	}
}
