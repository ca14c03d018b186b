package storage

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/eventd-io/eventd/event"
)

// What is stored together waits together: events with following numbers, for the
// same handler, since the same moment. In the index of what is due they are one
// entry, a run, so that a burst neither makes a large tree nor leaves its pages free
// afterwards. A run has the key of its first; its value is the status and, when they
// are several, how many.

// maxDueRun bounds the events of a run.
const maxDueRun = 1 << 12

// dueRun is an entry of the index of what is due.
type dueRun struct {
	dueEntry // the first
	status   event.Status
	n        uint64
	stored   []byte // its key in the file, which may be another by now; nil for none
}

// readDueRun decodes an entry. What is no number of events that a run can have
// stands for one.
func readDueRun(k, v []byte) (r dueRun, ok bool) {
	if r.dueEntry, ok = splitDueKey(k); !ok {
		return r, false
	}
	r.n = 1
	if len(v) > 0 {
		r.status = event.Status(v[0])
	}
	if len(v) > 1 {
		if n, size := binary.Uvarint(v[1:]); size == len(v)-1 && n > 1 && n <= maxDueRun {
			r.n = n
		}
	}
	return r, true
}

// entries are those that a run stands for.
func (r *dueRun) entries() iter.Seq[dueEntry] {
	return func(yield func(dueEntry) bool) {
		d := r.dueEntry
		for range r.n {
			if !yield(d) {
				return
			}
			d.seq++
		}
	}
}

func (r *dueRun) value() []byte {
	v := []byte{byte(r.status)}
	if r.n > 1 {
		v = binary.AppendUvarint(v, r.n)
	}
	return v
}

// has reports whether an entry is part of a run.
func (r *dueRun) has(d dueEntry) bool {
	return r.beside(d) && d.seq >= r.seq && d.seq-r.seq < r.n
}

// beside reports whether an entry differs from those of a run in its event only.
func (r *dueRun) beside(d dueEntry) bool {
	return r.handler == d.handler && r.at == d.at && r.delivery == d.delivery
}

// dueCursor is what findDue needs of a [bolt.Cursor].
type dueCursor interface {
	Seek(key []byte) (k, v []byte)
	Last() (k, v []byte)
	Prev() (k, v []byte)
}

// findDue returns the run that an entry is part of. That is the last beside it that
// does not begin behind it, as none overlap.
func findDue(c dueCursor, d dueEntry) (r dueRun, ok bool) {
	key := d.key()
	k, v := c.Seek(key)
	if k == nil {
		k, v = c.Last()
	} else if !bytes.Equal(k, key) {
		k, v = c.Prev()
	}
	for ; k != nil; k, v = c.Prev() { // one in a handler's queue for each of its deliveries to the event, mostly one
		if r, ok = readDueRun(k, v); !ok || r.handler != d.handler || r.at != d.at || d.seq-r.seq >= maxDueRun {
			return r, false
		}
		if r.has(d) {
			r.stored = bytes.Clone(k)
			return r, true
		}
		if r.beside(d) {
			return r, false
		}
	}
	return r, false
}

// maxOpenRuns is how many runs a transaction keeps in memory.
const maxOpenRuns = 16

// openRun returns the run in memory that belongs to a handler.
func (t *transaction) openRun(handler uint32) *dueRun {
	for i := range t.runs {
		if t.runs[i].handler == handler {
			return &t.runs[i]
		}
	}
	return nil
}

// schedule adds an entry to the index of what is due.
func (t *transaction) schedule(d dueEntry, status event.Status) error {
	r := t.openRun(d.handler)
	if r != nil && r.beside(d) && r.status == status && d.seq == r.seq+r.n && r.n < maxDueRun {
		r.n++
		return nil
	}
	return t.putOpenRun(r, dueRun{dueEntry: d, status: status, n: 1})
}

// putOpenRun puts a run in the place of another in memory, which is written. nil is
// for one of another handler.
func (t *transaction) putOpenRun(r *dueRun, now dueRun) error {
	if r == nil && len(t.runs) < maxOpenRuns {
		t.runs = append(t.runs, now)
		return nil
	}
	if r == nil {
		r = &t.runs[0]
	}
	if err := t.writeRun(r); err != nil {
		return err
	}
	*r = now
	return nil
}

// writeRun makes the index say what a run in memory is by now.
func (t *transaction) writeRun(r *dueRun) error {
	key := r.key()
	if r.stored != nil && (r.n == 0 || !bytes.Equal(r.stored, key)) {
		if err := t.due.Delete(r.stored); err != nil {
			return err
		}
	}
	if r.n == 0 {
		return nil
	}
	return t.due.Put(key, r.value())
}

// flushRuns writes the runs in memory.
func (t *transaction) flushRuns() error {
	for i := range t.runs {
		if err := t.writeRun(&t.runs[i]); err != nil {
			return err
		}
	}
	t.runs = t.runs[:0]
	return nil
}

// isOpen reports whether the run of a key in the file is in memory, where it may be
// another by now.
func (t *transaction) isOpen(key []byte) bool {
	return slices.ContainsFunc(t.runs, func(r dueRun) bool { return bytes.Equal(r.stored, key) })
}

// scheduled reports whether an entry is in the index of what is due.
func (t *transaction) scheduled(d dueEntry) bool {
	if r := t.openRun(d.handler); r != nil && r.has(d) {
		return true
	}
	r, ok := findDue(t.due.Cursor(), d)
	return ok && !t.isOpen(r.stored)
}

// unschedule takes an entry out of the index of what is due. It need not be there:
// what is damaged was taken out before.
func (t *transaction) unschedule(handler string, d dueEntry) error {
	r := t.openRun(d.handler)
	if r == nil || !r.has(d) {
		c := t.due.Cursor()
		found, ok := findDue(c, d)
		if !ok || t.isOpen(found.stored) {
			return nil
		}
		if found.n == 1 {
			t.db.waiting(handler).add(found.status, -1)
			return c.Delete()
		}
		if err := t.putOpenRun(r, found); err != nil {
			return err
		}
		r = t.openRun(d.handler)
	}
	t.db.waiting(handler).add(r.status, -1)
	return t.cut(r, d.seq)
}

// cut takes an event out of a run in memory.
func (t *transaction) cut(r *dueRun, seq uint64) error {
	switch before := seq - r.seq; before {
	case 0:
		r.seq++
	case r.n - 1:
	default:
		rest := *r
		rest.seq, rest.n, rest.stored = seq+1, r.n-before-1, nil
		r.n = before
		return t.putOpenRun(r, rest)
	}
	r.n--
	return nil
}
