package storage

import (
	"context"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// DueAside returns what waits for a handler with the one status and is due,
// soonest first, behind a place of its queue. It looks at a bounded part of the
// queue, and returns the place behind which a later call may go on: before the
// first it returned, as that may still wait then. What cannot be read, or is to take
// a place in line, is left for [DB.Due].
func (db *DB) DueAside(ctx context.Context, q event.DueQuery, status event.Status, after event.DuePlace) (list []event.Due, reached event.DuePlace, err error) {
	id, ok := db.names.number(q.Handler)
	if !ok {
		return nil, after, nil
	}
	err = db.view(ctx, func(r *snapshot) error {
		x := aside{snapshot: r, DueQuery: q, status: status, after: after, reached: after}
		x.look(r.tx.Bucket(bucketDue).Cursor(), id)
		list, reached = x.list, x.reached
		return nil
	})
	return list, reached, err
}

// asideRuns bounds how many runs of a queue one look at it passes, and asideLeftOut
// how many events it reads that it does not return.
const (
	asideRuns    = 4096
	asideLeftOut = 256
)

// aside is one look at a queue.
type aside struct {
	*snapshot
	event.DueQuery
	status         event.Status
	after, reached event.DuePlace
	list           []event.Due
	leftOut        int // that were read
	size           int // of the payloads in list, in bytes
}

func (x *aside) look(c *bolt.Cursor, id uint32) {
	k, v := seekRun(c, dueEntry{handler: id, at: dueMicros(x.after.At), seq: x.after.Seq, delivery: x.after.Index})
	for range asideRuns {
		if k == nil {
			return
		}
		run, ok := readDueRun(k, v)
		if !ok || run.handler > id || run.handler == id && (run.at > dueMicros(x.Now) || x.full()) {
			return
		}
		if run.handler == id {
			x.pass(&run)
		}
		k, v = c.Next()
	}
}

// seekRun moves to the run that an entry may be in: the last that does not begin
// behind it, where there is one.
func seekRun(c *bolt.Cursor, d dueEntry) (k, v []byte) {
	key := d.key()
	if k, _ = c.Seek(key); k == nil {
		return c.Last()
	}
	if k, v = c.Prev(); k == nil {
		return c.Seek(key)
	}
	return k, v
}

func (x *aside) full() bool {
	return len(x.list) >= x.Limit || x.size >= x.Bytes || x.leftOut >= asideLeftOut
}

// pass takes what a run has of the status behind the place.
func (x *aside) pass(run *dueRun) {
	if run.status != x.status {
		last := event.DuePlace{At: fromMicros(run.at), Seq: run.seq + run.n - 1, Index: run.delivery}
		x.reach(last)
		return
	}
	for d := range run.entries() {
		place := event.DuePlace{At: fromMicros(d.at), Seq: d.seq, Index: d.delivery}
		if !x.after.Before(place) {
			continue
		}
		if x.full() {
			return
		}
		item, payload, err := x.due(d, x.Handler)
		if err != nil || x.takesSeat(d, &item.Delivery) {
			x.leftOut++
			x.reach(place)
			continue
		}
		item.Payload = append([]byte{}, payload...)
		x.size += len(item.Payload)
		x.list = append(x.list, item)
	}
}

// reach notes a place that a later look need not begin before.
func (x *aside) reach(p event.DuePlace) {
	if len(x.list) == 0 && x.reached.Before(p) {
		x.reached = p
	}
}
