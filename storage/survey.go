package storage

import (
	"context"
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What a survey found about an event.
const (
	present    = 1 << iota // it is there
	rowGoes                // its time is over
	bytesGo                // the time of its payload is
	unreadable             // it is there, and who knows how it stands
)

// chunk is how many events are removed in one operation of the writer.
const chunk = 256

// survey is what retention found in a segment.
type survey struct {
	*segment
	seen    *segmentInfo // as it was before; another one says that something changed since
	policy  *policy
	now     time.Time
	events  []byte // by offset
	work    []bool // by chunk: there is something to remove
	rows    int    // how many there are
	dead    int    // of them in the index of what is parked
	whole   bool   // the time of all of them is over
	next    time.Time
	ends    time.Time // when the time of all of them is over
	endless bool      // that of some never is
}

// survey looks through a segment in short read transactions. It changes nothing.
func (db *DB) survey(s *segment, p *policy, now time.Time) (*survey, error) {
	v := &survey{segment: s, seen: s.seen.Load(), policy: p, now: now}
	v.events = make([]byte, v.seen.events)
	v.work = make([]bool, (len(v.events)+chunk-1)/chunk)
	for low := 0; low < len(v.events); low += slice {
		high := min(low+slice, len(v.events))
		err := db.view(context.Background(), func(r *snapshot) error { return v.states(r, low, high) })
		if err != nil {
			return nil, err
		}
	}
	v.whole = !v.endless && !v.ends.After(now)
	if !v.endless {
		v.soonest(v.ends)
	}
	if v.whole {
		return v, nil
	}
	return v, v.payloads(db)
}

// found returns what the survey found about an event.
func (v *survey) found(seq uint64) byte {
	if i := seq - v.first; i < uint64(len(v.events)) {
		return v.events[i]
	}
	return 0
}

func (v *survey) states(r *snapshot, low, high int) error {
	b, err := r.segment(v.segment)
	if err != nil {
		return err
	}
	c := b.states.Cursor()
	end := v.first + uint64(high) // not negative
	for k, x := c.Seek(key8(v.first + uint64(low))); len(k) == 8 && binary.BigEndian.Uint64(k) < end; k, x = c.Next() {
		l, err := readLife(x, r.db.names)
		v.note(int(binary.BigEndian.Uint64(k)-v.first), &l, err) // below segmentEvents
	}
	return nil
}

// note takes down what becomes of one event.
func (v *survey) note(offset int, l *life, err error) {
	v.rows++
	if err != nil {
		v.events[offset], v.endless = present|unreadable, true
		return
	}
	v.events[offset] = present
	if l.status.DeadLetter() {
		v.dead++
	}
	if at, ok := v.policy.payloadDue(l); ok && v.over(at.Add(v.policy.payloadGrace(l.status))) {
		v.events[offset] |= bytesGo
	}
	at, ok := v.policy.rowDue(l)
	if !ok {
		v.endless = true
		return
	}
	if at.After(v.ends) {
		v.ends = at
	}
	if v.over(at.Add(v.policy.rowGrace(l.status))) {
		v.events[offset] |= rowGoes
		v.work[offset/chunk] = true
	}
}

// over reports whether a time has come, and when it has not keeps it in mind.
func (v *survey) over(at time.Time) bool {
	if !at.After(v.now) {
		return true
	}
	v.soonest(at)
	return false
}

func (v *survey) soonest(at time.Time) {
	if v.next.IsZero() || at.Before(v.next) {
		v.next = at
	}
}

// payloads finds the blocks of payloads that have something to remove.
func (v *survey) payloads(db *DB) error {
	from := v.first
	for more := true; more; {
		err := db.view(context.Background(), func(r *snapshot) error {
			b, err := r.segment(v.segment)
			if err != nil {
				return err
			}
			n := 0
			c := b.payloads.Cursor()
			k, x := c.Seek(key8(from))
			for ; len(k) == 8 && n < slice; k, x = c.Next() {
				n++
				from = binary.BigEndian.Uint64(k) + 1
				v.block(int(from-1-v.first), x) // below segmentEvents
			}
			more = n == slice
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *survey) block(offset int, block []byte) {
	n, err := blockCount(block)
	if err != nil {
		return // of damaged events, which stay
	}
	for i := range int(n) { // bounded by the block
		if offset+i < len(v.events) && v.events[offset+i]&bytesGo != 0 && !blockRemoved(block, i) {
			v.work[offset/chunk] = true
			return
		}
	}
}

// touch reads what removing a chunk will read, and returns how many bytes it may
// write: of blocks that lose some of their records, and documents of events that
// go. A damaged page is an error here and would be the end of the store in the
// writer.
func (v *survey) touch(r *snapshot, from, to uint64) (weight int, err error) {
	b, err := r.segment(v.segment)
	if err != nil {
		return 0, err
	}
	for _, x := range []*bolt.Bucket{b.heads, b.payloads, b.root.Bucket(bucketNotes), b.root.Bucket(bucketBodies)} {
		c := x.Cursor()
		before := c.Last
		if k, _ := c.Seek(key8(from)); k != nil {
			before = c.Prev
		}
		k, block := before()
		weight += v.rewritten(k, block, from, to)
		for k, block := c.Seek(key8(from)); len(k) >= 8 && binary.BigEndian.Uint64(k) < to; k, block = c.Next() {
			weight += v.rewritten(k, block, from, to)
		}
	}
	if w := b.root.Bucket(bucketWorking); w != nil {
		c := w.Cursor()
		for k, doc := c.Seek(key8(from)); len(k) == 8 && binary.BigEndian.Uint64(k) < to; k, doc = c.Next() {
			if v.found(binary.BigEndian.Uint64(k))&rowGoes != 0 {
				weight += len(doc)
			}
		}
	}
	return weight, nil
}

// rewritten returns how many bytes of a block may be written anew when what the
// survey found between two seqs goes. A block that goes whole is not written.
func (v *survey) rewritten(k, block []byte, from, to uint64) int {
	n, err := blockCount(block)
	if len(k) != 8 || err != nil || n < 2 {
		return 0 // no block, or of one record: nothing of it stays
	}
	for seq := binary.BigEndian.Uint64(k); n > 0; seq, n = seq+1, n-1 {
		if seq >= from && seq < to && v.found(seq)&(rowGoes|bytesGo) != 0 {
			return len(block)
		}
	}
	return 0
}
