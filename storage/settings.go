package storage

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// Info tells how the store stands. It reads the file only where it must: for
// the oldest open events.
func (db *DB) Info(ctx context.Context) (event.StoreInfo, error) {
	info := event.StoreInfo{
		Path: db.options.Path, Outbox: int(db.outboxRows.Load()), Quarantined: int(db.quarantined.Load()),
		Oldest: map[event.Status]time.Time{}, MaxSize: db.options.MaxSize, Full: db.Full(),
	}
	if fi, err := os.Stat(db.options.Path); err == nil {
		info.Size = fi.Size()
	}
	info.Free = db.free()
	err := db.view(ctx, func(r *snapshot) error {
		for _, s := range event.Statuses {
			if s == event.Completed {
				continue
			}
			if t := r.oldest(s); !t.IsZero() {
				info.Oldest[s] = t
			}
		}
		return nil
	})
	return info, err
}

// OutboxWake receives a value when the outbox has something new.
func (db *DB) OutboxWake() <-chan struct{} { return db.outboxWake }

// checkKey refuses a name that would fail the commit and so break the store.
func checkKey(name string) error {
	if name == "" || len(name) > bolt.MaxKeySize {
		return fmt.Errorf("a name of %d bytes; want 1 to %d", len(name), bolt.MaxKeySize)
	}
	return nil
}

type position struct {
	Stream   string `cbor:"1,keyasint"`
	Sequence uint64 `cbor:"2,keyasint"`
	Stored   int64  `cbor:"3,keyasint"` // ns
}

// SavePosition keeps the stream position up to which everything a source has
// to receive is stored. [ErrFull] when there is no space for it.
func (db *DB) SavePosition(ctx context.Context, source string, p event.Position) error {
	if err := checkKey(source); err != nil {
		return fmt.Errorf("save position: %w", err)
	}
	v, err := cbor.Marshal(position{Stream: p.Stream, Sequence: p.Sequence, Stored: nanos(p.Stored)})
	if err != nil {
		return err
	}
	return db.try(ctx, len(source)+len(v), func(t *transaction) error {
		return t.tx.Bucket(bucketSources).Put([]byte(source), sealed(v))
	})
}

// LastPosition returns what [DB.SavePosition] kept; the zero position if nothing.
func (db *DB) LastPosition(source string) (p event.Position) {
	_ = db.viewCommitted(func(r *snapshot) error {
		v, err := unsealed(r.tx.Bucket(bucketSources).Get([]byte(source)))
		if err != nil {
			return err
		}
		var d position
		if err := lenient.Unmarshal(v, &d); err != nil {
			return err
		}
		p = event.Position{Stream: d.Stream, Sequence: d.Sequence, Stored: fromNanos(d.Stored)}
		return nil
	})
	return p
}

// SetPaused keeps why a handler or source is paused, over restarts; "" for not
// paused any more. Names of handlers and of sources are told apart by kind. [ErrFull]
// when there is no space for it.
func (db *DB) SetPaused(ctx context.Context, kind, name, reason string) error {
	key := []byte(kind + "/" + name)
	if err := checkKey(string(key)); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	return db.try(ctx, len(key)+len(reason), func(t *transaction) error {
		if reason == "" {
			return t.tx.Bucket(bucketPaused).Delete(key)
		}
		return t.tx.Bucket(bucketPaused).Put(key, []byte(reason))
	})
}

// Paused returns why a handler or source is paused; "" when it is not.
func (db *DB) Paused(kind, name string) (reason string) {
	_ = db.viewCommitted(func(r *snapshot) error {
		reason = string(r.tx.Bucket(bucketPaused).Get([]byte(kind + "/" + name)))
		return nil
	})
	return reason
}
