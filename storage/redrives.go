package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// bucketRedrives holds the jobs that redrive many events, by their number. It is
// made with the first of them: stores of before have none.
var bucketRedrives = []byte("redrives")

// keptRedrives is how many jobs that have ended are kept.
const keptRedrives = 100

// redrive is a job as it lies in the file. Numbers of fields are stored: never
// reuse one.
type redrive struct {
	Table         uint8   `cbor:"1,keyasint,omitempty"`
	Status        uint8   `cbor:"2,keyasint,omitempty"`
	MessageType   string  `cbor:"3,keyasint,omitempty"`
	Handler       string  `cbor:"4,keyasint,omitempty"`
	Route         string  `cbor:"5,keyasint,omitempty"`
	Reason        string  `cbor:"6,keyasint,omitempty"`
	SourceService string  `cbor:"7,keyasint,omitempty"`
	CorrelationID string  `cbor:"8,keyasint,omitempty"`
	Since         uint64  `cbor:"9,keyasint,omitempty"`
	Until         uint64  `cbor:"10,keyasint,omitempty"`
	DeadLetters   bool    `cbor:"11,keyasint,omitempty"`
	ToHandler     string  `cbor:"12,keyasint,omitempty"`
	Detail        string  `cbor:"13,keyasint,omitempty"`
	By            string  `cbor:"14,keyasint,omitempty"`
	Rate          float64 `cbor:"15,keyasint,omitempty"`
	State         string  `cbor:"16,keyasint"`
	Created       uint64  `cbor:"17,keyasint"`
	Ended         uint64  `cbor:"18,keyasint,omitempty"`
	Last          uint64  `cbor:"19,keyasint,omitempty"`
	Position      uint64  `cbor:"20,keyasint,omitempty"`
	Done          int     `cbor:"21,keyasint,omitempty"`
	Skipped       int     `cbor:"22,keyasint,omitempty"`
	Failed        int     `cbor:"23,keyasint,omitempty"`
}

func encodeRedrive(j *event.Redrive) ([]byte, error) {
	f := &j.Filter
	c, err := cbor.Marshal(redrive{
		Table: uint8(f.Table), Status: uint8(f.Status), MessageType: f.MessageType, Handler: f.Handler,
		Route: f.Route, Reason: string(f.Reason), SourceService: f.SourceService, CorrelationID: f.CorrelationID,
		Since: optionalMicros(f.Since), Until: optionalMicros(f.Until), DeadLetters: f.DeadLetters,
		ToHandler: j.Order.Handler, Detail: j.Order.Detail, By: j.Order.By, Rate: j.Rate, State: string(j.State),
		Created: micros(j.Created), Ended: optionalMicros(j.Ended), Last: j.Last, Position: j.Position,
		Done: j.Done, Skipped: j.Skipped, Failed: j.Failed,
	})
	return sealed(c), err
}

func decodeRedrive(k, v []byte) (*event.Redrive, error) {
	v, err := unsealed(v)
	if err != nil || len(k) != 8 {
		return nil, errDamaged
	}
	var d redrive
	if err := lenient.Unmarshal(v, &d); err != nil {
		return nil, errDamaged
	}
	return &event.Redrive{
		ID: binary.BigEndian.Uint64(k),
		Filter: event.Filter{
			Table: event.Table(d.Table), Status: event.Status(d.Status), MessageType: d.MessageType, Handler: d.Handler,
			Route: d.Route, Reason: event.Reason(d.Reason), SourceService: d.SourceService, CorrelationID: d.CorrelationID,
			Since: optionalTime(d.Since), Until: optionalTime(d.Until), DeadLetters: d.DeadLetters,
		},
		Order: event.RedriveOrder{Handler: d.ToHandler, Detail: d.Detail, By: d.By},
		Rate:  d.Rate, State: event.RedriveState(d.State),
		Created: fromMicros(d.Created), Ended: optionalTime(d.Ended), Last: d.Last, Position: d.Position,
		Done: d.Done, Skipped: d.Skipped, Failed: d.Failed,
	}, nil
}

// AddRedrive stores a job that begins now, and fills in its ID, Created and Last.
// [event.ErrConflict]: one that runs may be about the same handler; the error
// says which. Jobs that have ended are forgotten, oldest first, where there are
// more than a hundred.
func (db *DB) AddRedrive(ctx context.Context, j *event.Redrive) error {
	var refused error
	err := db.do(ctx, func(t *transaction) error {
		b, err := t.tx.CreateBucketIfNotExists(bucketRedrives)
		if err != nil {
			return err
		}
		running, ended := sortRedrives(b)
		if refused = inTheWay(j, running); refused != nil {
			return nil
		}
		for _, id := range ended[:max(0, len(ended)-keptRedrives+1)] {
			if err := b.Delete(id); err != nil {
				return err
			}
		}
		if j.ID, err = b.NextSequence(); err != nil {
			return err
		}
		j.State, j.Created, j.Last = event.RedriveRunning, db.now(), db.nextSeq-1
		return putRedrive(b, j)
	})
	if err != nil {
		return err
	}
	return refused
}

// sortRedrives returns the jobs that run and the keys of the others, oldest first.
func sortRedrives(b *bolt.Bucket) (running []*event.Redrive, ended [][]byte) {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if j, err := decodeRedrive(k, v); err == nil && j.State == event.RedriveRunning {
			running = append(running, j)
		} else {
			ended = append(ended, bytes.Clone(k))
		}
	}
	return running, ended
}

func inTheWay(j *event.Redrive, running []*event.Redrive) error {
	for _, other := range running {
		if j.Overlaps(other) {
			return fmt.Errorf("redrive %d is running for the same handler: %w", other.ID, event.ErrConflict)
		}
	}
	return nil
}

func putRedrive(b *bolt.Bucket, j *event.Redrive) error {
	v, err := encodeRedrive(j)
	if err != nil {
		return err
	}
	return b.Put(key8(j.ID), v)
}

// Redrives returns the jobs that are stored, oldest first. One that is damaged
// is left out and logged.
func (db *DB) Redrives(ctx context.Context) (list []event.Redrive, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b := r.tx.Bucket(bucketRedrives)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			j, err := decodeRedrive(k, v)
			if err != nil {
				db.log.Error().Hex("redrive", k).Msg("the record of a redrive is damaged")
				continue
			}
			list = append(list, *j)
		}
		return nil
	})
	return list, err
}

// Redrive returns a job; [event.ErrNotFound] if there is none.
func (db *DB) Redrive(ctx context.Context, id uint64) (j *event.Redrive, err error) {
	err = db.view(ctx, func(r *snapshot) (err error) {
		j, err = findRedrive(r.tx.Bucket(bucketRedrives), id)
		return err
	})
	return j, err
}

func findRedrive(b *bolt.Bucket, id uint64) (*event.Redrive, error) {
	if b == nil {
		return nil, noRedrive(id)
	}
	v := b.Get(key8(id))
	if v == nil {
		return nil, noRedrive(id)
	}
	j, err := decodeRedrive(key8(id), v)
	if err != nil {
		return nil, fmt.Errorf("redrive %d: %w", id, ErrQuarantined)
	}
	return j, nil
}

func noRedrive(id uint64) error { return fmt.Errorf("redrive %d: %w", id, event.ErrNotFound) }

// AdvanceRedrive takes steps of events and notes in their job what became of
// them, in one transaction: after a crash both are there or neither is. change
// is called, in the writer, once the steps have their Err; it gets the job as it
// is in the store. [event.ErrConflict]: the job does not run any more; then no
// step was taken. [event.ErrTooMuch]: there is no space for so many steps; none
// was taken.
func (db *DB) AdvanceRedrive(ctx context.Context, id uint64, change func(*event.Redrive), updates ...*event.Update) error {
	var refused error
	op := &operation{apply: func(t *transaction) error {
		b := t.tx.Bucket(bucketRedrives)
		j, err := findRedrive(b, id)
		if err == nil && j.State != event.RedriveRunning {
			err = fmt.Errorf("redrive %d is %s: %w", id, j.State, event.ErrConflict)
		}
		if refused = err; refused != nil {
			return nil
		}
		for _, u := range updates {
			if err := t.update(u); err != nil {
				return err
			}
		}
		change(j)
		if j.State != event.RedriveRunning {
			j.Ended = t.now.Truncate(time.Microsecond)
		}
		return putRedrive(b, j)
	}}
	op.weigh(updates)
	if err := db.hand(ctx, op); err != nil {
		return err
	}
	return refused
}
