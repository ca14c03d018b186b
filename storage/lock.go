package storage

import (
	"errors"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// HoldOff keeps daemons from a file that is about to be replaced, until release is
// called; it need not be there, nor be a store. [ErrUnavailable]: another process
// has it open as its store, also after the wait.
func HoldOff(path string, wait time.Duration) (release func(), err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	return lockAny(path, wait)
}

// lockAny takes the lock of a file, whatever is in it, so that no daemon has or
// gets it until release is called. A file that is too damaged to be opened can be
// no daemon's: there is nothing to lock then.
func lockAny(path string, wait time.Duration) (release func(), err error) {
	if err := inspectName(path); errors.Is(err, ErrCorrupt) {
		return func() {}, nil // empty: bbolt would want to make a store of it
	} else if err != nil {
		return func() {}, err
	}
	b, _, err := openFile(path, &bolt.Options{Timeout: wait, ReadOnly: true})
	switch {
	case errors.Is(err, ErrCorrupt):
		return func() {}, nil
	case err != nil:
		return func() {}, err
	}
	return func() { _ = b.Close() }, nil
}
