package storage

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/eventd-io/eventd/event"
)

// DueAside returns what waits for a handler with the one status and is due,
// soonest first, behind a place of its queue. It looks at a bounded number of
// entries, and returns where a later call may go on: the first it returned, as it
// may still wait then. What cannot be read is left for [DB.Due].
func (db *DB) DueAside(ctx context.Context, q event.DueQuery, status event.Status, after event.DuePlace) (list []event.Due, reached event.DuePlace, err error) {
	id, ok := db.names.number(q.Handler)
	if !ok {
		return nil, after, nil
	}
	err = db.view(ctx, func(r *snapshot) error {
		list, reached = r.dueAside(id, q, status, after)
		return nil
	})
	return list, reached, err
}

// asideEntries bounds how many entries of a queue one look at it passes.
const asideEntries = 4096

func (r *snapshot) dueAside(id uint32, q event.DueQuery, status event.Status, after event.DuePlace) (list []event.Due, reached event.DuePlace) {
	reached = after
	prefix, from := binary.BigEndian.AppendUint32(nil, id), dueKey(id, after.At, after.Seq, after.Index)
	c, size, found := r.tx.Bucket(bucketDue).Cursor(), 0, false
	k, v := c.Seek(from)
	if bytes.Equal(k, from) {
		k, v = c.Next()
	}
	for n := 0; k != nil && bytes.HasPrefix(k, prefix) && n < asideEntries; n++ {
		d, ok := splitDueKey(k)
		if !ok || d.at > dueMicros(q.Now) || len(list) >= q.Limit || size >= q.Bytes {
			return list, reached
		}
		mine := len(v) == 1 && event.Status(v[0]) == status
		found = found || mine
		if !found {
			reached = event.DuePlace{At: fromMicros(d.at), Seq: d.seq, Index: d.delivery}
		}
		if item, err := r.dueIf(mine, d, q.Handler); err == nil && item.Event != nil {
			size += len(item.Payload)
			list = append(list, item)
		}
		k, v = c.Next()
	}
	return list, reached
}

func (r *snapshot) dueIf(wanted bool, d dueEntry, handler string) (event.Due, error) {
	if !wanted {
		return event.Due{}, nil
	}
	return r.due(d, handler)
}
