package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Files beside the store, of work that is not finished. What a crash leaves of
// them is removed when the store is opened the next time. Those of makeStore are
// not among them: it runs before there is anything to lock.
const (
	partCompact = ".compact-"
	partBackup  = ".backup-"
	partRestore = ".restore-"
	partLoad    = ".load-"
	partSalvage = ".salvage-"
)

// makePart makes a file for unfinished work beside a store. Who got it removes
// it, unless it was put in the store's place.
func makePart(path, part string) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+part+"*")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return f.Name(), f.Close()
}

// removeLeftovers removes what a crash left of unfinished work. The caller has
// the store locked.
func removeLeftovers(o *Options) {
	for _, part := range []string{partCompact, partBackup, partRestore, partLoad, partSalvage} {
		list, err := filepath.Glob(filepath.Join(filepath.Dir(o.Path), filepath.Base(o.Path)+part+"*"))
		if err != nil {
			return // a folder whose name is a pattern: they stay
		}
		for _, name := range list {
			if err := os.Remove(name); err != nil {
				o.Log.Warn().Err(err).Msg("a leftover of unfinished work stays")
				continue
			}
			o.Log.Info().Str("path", name).Msg("a leftover of unfinished work is removed")
		}
	}
}

// replace puts a file that is on disk in the place of another, for good.
func replace(name, path string) error {
	if fi, err := os.Stat(path); err == nil {
		if err := os.Chmod(name, fi.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := os.Rename(name, path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// put puts a file that is on disk where a store is to be, for good. With keep,
// what is there stays beside it under the name that is returned; without,
// nothing may be there. At no moment is there none, for which a daemon would
// make a new one.
func put(name, path string, keep bool) (kept string, err error) {
	if keep {
		kept = path + ".before-" + time.Now().UTC().Format("20060102T150405.000Z")
		switch err := os.Link(path, kept); {
		case err == nil:
			return kept, replace(name, path)
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("%w: keep %s beside the new one: %w", ErrUnavailable, path, err)
		}
	}
	if err := os.Link(name, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return "", existsError(path)
		}
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return "", SyncFolder(filepath.Dir(path))
}

// ErrExists says that there is a store already where one is to be put.
var ErrExists = errors.New("there is a store already")

func existsError(path string) error { return fmt.Errorf("%s: %w", path, ErrExists) }

// vacant makes the folder of a store to be, and reports an error when there is
// one already and force does not allow for it. One that is there is locked until
// release is called, so that no daemon writes to it meanwhile.
func vacant(path string, wait time.Duration, force bool) (release func(), err error) {
	release = func() {}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return release, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return release, nil
	}
	if !force {
		return release, existsError(path)
	}
	return lockAny(path, wait)
}

// needSpace reports an error when a folder has no room for so many bytes.
// Where that cannot be asked, writing will tell.
func needSpace(dir string, bytes int64) error {
	if free, ok := freeSpace(dir); ok && free < bytes {
		return fmt.Errorf("%w: %s has %d MiB free and %d MiB are needed", ErrUnavailable, dir, free>>20, bytes>>20+1)
	}
	return nil
}
