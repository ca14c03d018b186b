package storage

import (
	"context"
	"fmt"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
)

// bucketSchedules says of each schedule how far it is, by its name. It is made
// with the first of them: stores of before have none.
var bucketSchedules = []byte("schedules")

// mark is an [event.Mark] as it lies in the file. Numbers of fields are stored:
// never reuse one.
type mark struct {
	Rule    string `cbor:"1,keyasint,omitempty"`
	Seen    uint64 `cbor:"2,keyasint"` // microseconds
	Last    uint64 `cbor:"3,keyasint,omitempty"`
	EventID string `cbor:"4,keyasint,omitempty"`
}

func decodeMark(schedule, v []byte) (event.Mark, error) {
	var d mark
	if err := decodeSealed(v, &d); err != nil {
		return event.Mark{}, err
	}
	return event.Mark{
		Schedule: string(schedule), Rule: d.Rule, Seen: fromMicros(d.Seen), Last: optionalTime(d.Last), EventID: d.EventID,
	}, nil
}

func (t *transaction) putMark(m *event.Mark) error {
	v, err := cbor.Marshal(mark{Rule: m.Rule, Seen: micros(m.Seen), Last: optionalMicros(m.Last), EventID: m.EventID})
	if err != nil {
		return err
	}
	b, err := t.tx.CreateBucketIfNotExists(bucketSchedules)
	if err != nil {
		return err
	}
	return b.Put([]byte(m.Schedule), sealed(v))
}

// Marks returns how far each schedule is that the store knows. One whose record
// is damaged is left out and logged.
func (db *DB) Marks(ctx context.Context) (list []event.Mark, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b := r.tx.Bucket(bucketSchedules)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			m, err := decodeMark(k, v)
			if err != nil {
				db.log.Error().Bytes("schedule", k).Msg("how far the schedule was is damaged: it begins anew")
				continue
			}
			list = append(list, m)
		}
		return nil
	})
	return list, err
}

// SetMark keeps how far a schedule is. That of a run is kept by [DB.Accept], with
// its event. Errors are those of [DB.Update].
func (db *DB) SetMark(ctx context.Context, m event.Mark) error {
	if err := checkKey(m.Schedule); err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	return db.do(ctx, func(t *transaction) error { return t.putMark(&m) })
}

// Forget removes what is known of schedules.
func (db *DB) Forget(ctx context.Context, schedules ...string) error {
	return db.do(ctx, func(t *transaction) error {
		b := t.tx.Bucket(bucketSchedules)
		if b == nil {
			return nil
		}
		for _, name := range schedules {
			if err := b.Delete([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// schedules checks that each record can be read.
func (c *checker) schedules() {
	b := c.tx.Bucket(bucketSchedules)
	if b == nil {
		return
	}
	_ = b.ForEach(func(k, v []byte) error {
		if _, err := decodeMark(k, v); err != nil {
			c.fail("schedule %s: %v; it begins anew", k, err)
		}
		return nil
	})
}
