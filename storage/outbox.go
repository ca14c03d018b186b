package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/eventd-io/eventd/event"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"
)

// publication is an outbox row. Without Own the body stands in the row.
type publication struct {
	Subject string            `cbor:"1,keyasint"`
	Header  map[string]string `cbor:"2,keyasint,omitempty"`
	Body    []byte            `cbor:"3,keyasint,omitempty"`
	Seq     uint64            `cbor:"4,keyasint,omitempty"`
	Own     bool              `cbor:"5,keyasint,omitempty"` // the body is a payload of event Seq…
	Row     int               `cbor:"6,keyasint,omitempty"` // …that of this row
}

func (t *transaction) addOutbox(seq uint64, row int, rows []event.Publication) error {
	for i := range rows {
		p := &rows[i]
		c, err := cbor.Marshal(publication{
			Subject: p.Subject, Header: p.Header, Body: p.Body, Seq: seq, Own: p.Body == nil, Row: row,
		})
		if err != nil {
			return err
		}
		n, err := t.outbox.NextSequence()
		if err != nil {
			return err
		}
		p.ID, p.EventSeq = n, seq
		if err := t.outbox.Put(key8(n), sealed(c)); err != nil {
			return err
		}
		t.published++
	}
	return nil
}

// Outbox returns publications that are not acknowledged yet, in the order they
// were stored, those behind the one with the given ID: limit of them, or all
// that there are. Rows that cannot be read are put under quarantine and passed
// over.
func (db *DB) Outbox(ctx context.Context, after uint64, limit int) (rows []event.Publication, err error) {
	for len(rows) < limit {
		seen, damaged := 0, []uint64(nil)
		err = db.view(ctx, func(r *snapshot) error {
			c := r.tx.Bucket(bucketOutbox).Cursor()
			want := limit - len(rows)
			for k, v := c.Seek(key8(after + 1)); len(k) == 8 && seen < want; k, v = c.Next() {
				seen, after = seen+1, binary.BigEndian.Uint64(k)
				if p, err := r.publication(after, v); err == nil {
					rows = append(rows, p)
				} else {
					damaged = append(damaged, after)
				}
			}
			return nil
		})
		if err != nil || len(damaged) == 0 {
			return rows, err
		}
		if err := db.quarantineOutbox(ctx, damaged); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// quarantineOutbox moves rows that cannot be read to the quarantine, as they are.
func (db *DB) quarantineOutbox(ctx context.Context, ids []uint64) error {
	db.log.Error().Uints64("outbox", ids).Msg("damaged outbox rows are quarantined and not published")
	return db.do(ctx, func(t *transaction) error {
		q := t.tx.Bucket(bucketQuarantine)
		for _, id := range ids {
			row := bytes.Clone(t.outbox.Get(key8(id)))
			if row == nil {
				continue
			}
			if err := errors.Join(q.Put(outboxKey(id), row), t.outbox.Delete(key8(id))); err != nil {
				return err
			}
			t.acknowledged++
			t.db.quarantined.Add(1)
		}
		return nil
	})
}

// outboxKey is where an outbox row stands under quarantine, apart from the seqs.
func outboxKey(id uint64) []byte { return append([]byte("outbox"), key8(id)...) }

func (r *snapshot) publication(id uint64, v []byte) (p event.Publication, err error) {
	defer recoverDamage(&err)
	v, err = unsealed(v)
	if err != nil {
		return p, err
	}
	var d publication
	if err := lenient.Unmarshal(v, &d); err != nil {
		return p, errDamaged
	}
	p = event.Publication{ID: id, Subject: d.Subject, Header: d.Header, Body: d.Body, EventSeq: d.Seq}
	if !d.Own {
		return p, nil
	}
	b, err := r.of(d.Seq)
	if err != nil {
		return p, err
	}
	own, err := b.outgoing(d.Seq, d.Row)
	p.Body = append([]byte{}, own...)
	return p, err
}

// Published removes publications that the server has acknowledged.
func (db *DB) Published(ctx context.Context, ids []uint64) error {
	return db.do(ctx, func(t *transaction) error {
		for _, id := range ids {
			if t.outbox.Get(key8(id)) == nil {
				continue
			}
			if err := t.outbox.Delete(key8(id)); err != nil {
				return err
			}
			t.acknowledged++
		}
		return nil
	})
}

func countKeys(b *bolt.Bucket) (n int) {
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	return n
}
