package storage

import (
	"bytes"
	"context"

	"github.com/eventd-io/eventd/event"
)

// Lined returns deliveries of a handler that wait for their turn behind others of
// their order key, without payloads: at most limit, those behind a place that the
// call before returned. Nil as the next place says that there are no more. What
// cannot be read is left out.
func (db *DB) Lined(ctx context.Context, handler string, after []byte, limit int) (list []event.Due, next []byte, err error) {
	id, ok := db.names.number(handler)
	if !ok {
		return nil, nil, nil
	}
	err = db.view(ctx, func(r *snapshot) error {
		b := lines{r.tx.Bucket(bucketLines)}
		if b.Bucket == nil {
			return nil
		}
		of := line{handler: id}
		prefix := of.key(linePlace)[:lineKeySize-lineHashSize]
		c := b.Cursor()
		k, v := c.Seek(append(bytes.Clone(prefix), after...))
		for looked := 0; bytes.HasPrefix(k, prefix); k, v = c.Next() {
			rest := k[len(prefix):]
			if bytes.Equal(rest, after) {
				continue
			}
			if looked == limit {
				return nil
			}
			looked++
			next = bytes.Clone(rest)
			l, _ := readLine(k)
			x, ok := readStander(k, v)
			if turn, _ := b.turn(&l); !ok || !x.waits() || turn == x.spot {
				continue
			}
			if d, err := r.lined(x, handler); err == nil {
				list = append(list, d)
			}
		}
		next = nil
		return nil
	})
	return list, next, err
}

// lined reads what a place in a line stands for.
func (r *snapshot) lined(x stander, handler string) (d event.Due, err error) {
	defer recoverDamage(&err)
	rec, err := r.record(x.seq)
	if err != nil {
		return d, err
	}
	if x.delivery >= len(rec.Deliveries) || rec.Deliveries[x.delivery].Handler != handler {
		return d, errDamaged
	}
	return event.Due{Event: &rec.Event, Index: x.delivery, Delivery: rec.Deliveries[x.delivery]}, nil
}

// maxCounted is up to how many are counted that wait in a line, or lines that wait.
const maxCounted = 1000

// OrderHeads returns the events of a handler that keep others of their order key
// waiting, at most limit: those that are ERROR or FAILED first, which do so until
// somebody acts. more says that there are more.
func (db *DB) OrderHeads(ctx context.Context, handler string, limit int) (list []event.OrderHead, more bool, err error) {
	id, ok := db.names.number(handler)
	if !ok {
		return nil, false, nil
	}
	err = db.view(ctx, func(r *snapshot) error {
		b := lines{r.tx.Bucket(bucketLines)}
		if b.Bucket == nil {
			return nil
		}
		for _, kind := range []byte{lineBlocked, lineRetries} {
			of := line{handler: id}
			prefix := of.key(kind)[:lineKeySize-lineHashSize]
			c := b.Cursor()
			for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
				if more = len(list) == limit; more {
					return nil
				}
				if l, ok := readLine(k); ok {
					list = r.head(list, b, &l, handler)
				}
			}
		}
		return nil
	})
	return list, more, err
}

// head appends whose turn it is in a line, unless it cannot be read.
func (r *snapshot) head(list []event.OrderHead, b lines, l *line, handler string) []event.OrderHead {
	p, ok := b.turn(l)
	if !ok {
		return list
	}
	d, err := r.lined(stander{spot: p}, handler)
	if err != nil {
		return list
	}
	rec, err := r.record(p.seq)
	if err != nil {
		return list
	}
	h := event.OrderHead{Handler: handler, Key: d.Delivery.OrderKey, Record: rec, Delivery: p.delivery}
	c, prefix := b.Cursor(), l.key(linePlace)
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && !h.More; k, _ = c.Next() {
		h.Waiting++
		h.More = h.Waiting > maxCounted
	}
	h.Waiting-- // he does not wait for himself
	return append(list, h)
}

// BlockedKeys returns how many order keys of a handler wait behind an event that
// is ERROR or FAILED; of more than 1,000 it says 1,000.
func (db *DB) BlockedKeys(handler string) (n int) {
	id, ok := db.names.number(handler)
	if !ok {
		return 0
	}
	_ = db.viewCommitted(func(r *snapshot) error {
		bucket := r.tx.Bucket(bucketLines)
		if bucket == nil {
			return nil
		}
		of := line{handler: id}
		prefix := of.key(lineBlocked)[:lineKeySize-lineHashSize]
		c := bucket.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && n < maxCounted; k, _ = c.Next() {
			n++
		}
		return nil
	})
	return n
}
