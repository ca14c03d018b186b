package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// Backup returns a consistent copy of the store, of the moment it is called. The
// copy is a file beside the store, written as quickly as the disk goes: a reader
// that held its transaction for as long as a client takes would keep every page
// that is freed meanwhile from being used again, and the store would grow.
//
// Who gets it closes it, which removes the file. Until then there is no other:
// [event.ErrConflict]. [event.ErrUnavailable]: there is no room for it.
func (db *DB) Backup(ctx context.Context) (*event.Backup, error) {
	if !db.backup.TryLock() {
		return nil, fmt.Errorf("another backup is being taken: %w", event.ErrConflict)
	}
	c := &copied{free: db.backup.Unlock}
	b, err := db.copyTo(ctx, c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return b, nil
}

func (db *DB) copyTo(ctx context.Context, c *copied) (*event.Backup, error) {
	if err := db.broken(); err != nil {
		return nil, err
	}
	size, err := sizeOf(db.options.Path)
	if err != nil {
		return nil, err
	}
	if err := needSpace(filepath.Dir(db.options.Path), size+size/8); err != nil { // and as it was
		return nil, fmt.Errorf("%w: %w", event.ErrUnavailable, err)
	}
	name, err := makePart(db.options.Path, partBackup)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrUnavailable, err)
	}
	c.name = name
	if c.file, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if err := db.show(ctx); err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := db.writeTo(&patientWriter{ctx: ctx, w: io.MultiWriter(c.file, sum)})
	if err != nil {
		return nil, fmt.Errorf("copy the store: %w", err)
	}
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	b := &event.Backup{ReadCloser: c, Size: n}
	copy(b.SHA256[:], sum.Sum(nil))
	return b, nil
}

func (db *DB) writeTo(w io.Writer) (n int64, err error) {
	defer recoverPanic(&err)
	err = db.bolt.View(func(tx *bolt.Tx) error {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		n, err = tx.WriteTo(&blankingWriter{w: w, blank: db.journal.place()})
		return err
	})
	return n, err
}

// blankingWriter writes zeros in place of what lies in a part of the file: the journal, which is
// not of the moment of a transaction. What was in it then is in the tables.
type blankingWriter struct {
	w     io.Writer
	blank span
	at    int64
}

// span is a part of a file.
type span struct{ from, to int64 }

// Write implements [io.Writer].
func (b *blankingWriter) Write(p []byte) (int, error) {
	from, to := max(b.blank.from-b.at, 0), min(b.blank.to-b.at, int64(len(p)))
	if from < to {
		p = slices.Clone(p)
		clear(p[from:to])
	}
	n, err := b.w.Write(p)
	b.at += int64(n)
	return n, err
}

// patientWriter writes until ctx ends.
type patientWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write implements [io.Writer].
func (p *patientWriter) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// copied is the file of a backup.
type copied struct {
	file *os.File
	name string
	free func()
	once sync.Once
}

// Read implements [io.Reader].
func (c *copied) Read(p []byte) (int, error) { return c.file.Read(p) }

// Close removes the file and lets the next backup be taken.
func (c *copied) Close() (err error) {
	c.once.Do(func() {
		defer c.free()
		if c.file != nil {
			err = c.file.Close()
		}
		if c.name != "" {
			err = errors.Join(err, os.Remove(c.name))
		}
	})
	return err
}
