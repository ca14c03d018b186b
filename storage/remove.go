package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// removed counts what retention took.
type removed struct{ events, payloads, segments int }

func (r *removed) add(x removed) {
	r.events += x.events
	r.payloads += x.payloads
	r.segments += x.segments
}

// pending knows the events that something in the outbox refers to.
type pending struct {
	seqs map[uint64]struct{}
	last uint64 // the newest row that was looked at
}

// look takes in the rows that were added since, at most limit of them, and
// reports whether there may be more.
func (p *pending) look(outbox *bolt.Bucket, limit int) (more bool) {
	c := outbox.Cursor()
	k, v := c.Seek(key8(p.last + 1))
	for ; len(k) == 8 && limit > 0; k, v = c.Next() {
		limit--
		p.last = binary.BigEndian.Uint64(k)
		var d publication
		if u, err := unsealed(v); err == nil && lenient.Unmarshal(u, &d) == nil {
			p.seqs[d.Seq] = struct{}{}
		}
	}
	return len(k) == 8
}

// within reports whether any of them lies between two seqs, the second not
// included.
func (p *pending) within(from, to uint64) bool {
	for seq := range p.seqs {
		if seq >= from && seq < to {
			return true
		}
	}
	return false
}

// thin removes from a chunk of a segment what the survey says and is still so.
func (t *transaction) thin(v *survey, p *pending, from, to uint64) (r removed, err error) {
	p.look(t.outbox, 1<<31)
	b, err := t.segment(v.segment)
	if err != nil {
		return r, err
	}
	for seq := from; seq < to; seq++ {
		if v.found(seq)&rowGoes == 0 || !v.still(t, b, p, seq, v.policy.rowOver) {
			continue
		}
		if err := t.removeRow(b, seq); err != nil {
			return r, err
		}
		r.events++
	}
	absent := func(seq uint64) bool { return !b.has(seq) }
	if err := thinBlocks(b.heads, from, to, absent); err != nil {
		return r, err
	}
	var stripped []uint64
	err = thinBlocks(b.payloads, from, to, func(seq uint64) bool {
		if absent(seq) {
			return true
		}
		if v.found(seq)&bytesGo == 0 || !v.still(t, b, p, seq, v.policy.payloadOver) {
			return false
		}
		stripped = append(stripped, seq)
		return true
	})
	r.payloads = len(stripped)
	for _, seq := range stripped {
		err = errors.Join(err, stripBodies(b, seq))
	}
	return r, err
}

// still reports whether an event may go as it stands now.
func (v *survey) still(t *transaction, b *segmentBuckets, p *pending, seq uint64, over func(*life, *survey) bool) bool {
	if _, waits := p.seqs[seq]; waits {
		return false
	}
	l, err := readLife(b.states.Get(key8(seq)), t.db.names)
	return err == nil && over(&l, v)
}

func (p *policy) rowOver(l *life, v *survey) bool {
	at, ok := p.rowDue(l)
	return ok && !at.After(v.now)
}

func (p *policy) payloadOver(l *life, v *survey) bool {
	at, ok := p.payloadDue(l)
	return ok && !at.After(v.now)
}

// removeRow removes all of an event but its place in the blocks. It has ended,
// so that of the indexes only that of what is parked may have it.
func (t *transaction) removeRow(b *segmentBuckets, seq uint64) error {
	l, err := readLife(b.states.Get(key8(seq)), t.db.names)
	if err != nil {
		return err
	}
	b.info.count(l.table, l.status, -1)
	t.changed[b.segment] = struct{}{}
	return errors.Join(
		t.carryDocument(b, seq), t.dropAwaiting(seq, seq+1), t.forget(seq, seq+1), b.states.Delete(key8(seq)),
		deletePrefix(b.root.Bucket(bucketNotes), key8(seq)), deletePrefix(b.root.Bucket(bucketBodies), key8(seq)),
	)
}

func deletePrefix(b *bolt.Bucket, prefix []byte) error {
	c := b.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Seek(prefix) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// thinBlocks takes records out of the blocks that hold events between two seqs,
// the second not included.
func thinBlocks(b *bolt.Bucket, from, to uint64, gone func(seq uint64) bool) error {
	type found struct{ k, v []byte }
	var list []found
	c := b.Cursor()
	k, v := c.Seek(key8(from))
	if k == nil {
		k, v = c.Last()
	} else if !bytes.Equal(k, key8(from)) {
		if k, v = c.Prev(); k == nil { // the first of them may lie in the block before
			k, v = c.First()
		}
	}
	for ; len(k) == 8 && binary.BigEndian.Uint64(k) < to; k, v = c.Next() {
		list = append(list, found{bytes.Clone(k), v})
	}
	for _, x := range list {
		first := binary.BigEndian.Uint64(x.k)
		out, left, n, err := blockWithout(x.v, func(i uint64) bool { return gone(first + i) })
		switch {
		case err != nil || n == 0: // damaged, or nothing new
			continue
		case left == 0:
			err = b.Delete(x.k)
		default:
			err = b.Put(x.k, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stripBodies takes the bytes out of the payload rows of an event beyond the
// first.
func stripBodies(b *segmentBuckets, seq uint64) error {
	bodies, prefix := b.root.Bucket(bucketBodies), key8(seq)
	type row struct{ k, v []byte }
	var list []row
	c := bodies.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		p, err := decodeBody(v, nil)
		if err != nil || len(p.Body) == 0 {
			continue // damaged, or without bytes of its own
		}
		p.Body, p.Removed = nil, true
		if v, err = encodeBody(&p, 0); err != nil {
			return err
		}
		list = append(list, row{bytes.Clone(k), v})
	}
	for _, x := range list {
		if err := bodies.Put(x.k, x.v); err != nil {
			return err
		}
	}
	return nil
}

// bucketDropped holds segments that are no longer part of the store until they
// are deleted, piece by piece.
var bucketDropped = []byte("dropped")

// keyBytes is, in the root of a dropped segment, about how many bytes its pages are.
var keyBytes = []byte("bytes")

// droppedBytes returns about how many bytes of the file belong to segments that
// were dropped.
func droppedBytes(tx *bolt.Tx) (n int64) {
	dropped := tx.Bucket(bucketDropped)
	if dropped == nil {
		return 0
	}
	c := dropped.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n += sizeOfDropped(dropped.Bucket(k))
	}
	return n
}

// sizeOfDropped returns what [transaction.drop] noted of a segment.
func sizeOfDropped(root *bolt.Bucket) int64 {
	if root == nil {
		return 0
	}
	v := root.Get(keyBytes)
	if len(v) != 8 {
		return 0 // of an older eventd
	}
	return int64(binary.BigEndian.Uint64(v)) // written from one
}

// sizeOfSegment returns how many bytes the pages of a segment are.
func (r *snapshot) sizeOfSegment(s *segment) (int64, error) {
	b, err := r.segment(s)
	if err != nil {
		return 0, err
	}
	x := b.root.Stats()
	pages := x.BranchPageN + x.BranchOverflowN + x.LeafPageN + x.LeafOverflowN
	return int64(pages) * int64(r.db.pageSize), nil
}

// maxParked is how many entries of the index of what is parked one transaction
// takes out.
const maxParked = 1000

// drop takes a whole segment, whose pages are so many bytes, out of the store. It
// returns false when the segment has changed since the survey, or is in use by this
// very transaction.
func (t *transaction) drop(v *survey, p *pending, size int64) (ok bool, err error) {
	p.look(t.outbox, 1<<31)
	end := v.first + uint64(v.seen.events)
	_, used := t.buckets[v.first]
	if used || v.seen != v.segment.seen.Load() || v.segment == t.db.lastSegment() || p.within(v.first, end) {
		return false, nil
	}
	if !slices.Contains(t.db.segmentList(), v.segment) {
		return false, nil
	}
	root := t.segments.Bucket(key8(v.first))
	if w := root.Bucket(bucketWorking); w != nil && w.Inspect().KeyN > 0 {
		return false, nil // written since it was released
	}
	if err := t.forget(v.first, end); err != nil {
		return false, err
	}
	dropped, err := t.tx.CreateBucketIfNotExists(bucketDropped)
	if err != nil {
		return false, err
	}
	if err := t.segments.MoveBucket(key8(v.first), dropped); err != nil {
		return false, err
	}
	if err := dropped.Bucket(key8(v.first)).Put(keyBytes, key8(uint64(size))); err != nil { // not negative
		return false, err
	}
	t.db.removeSegment(v.segment)
	t.db.droppedBytes.Add(size)
	return true, nil
}

// forget takes events that go out of the index of what is parked, and off the
// list of what is damaged.
func (t *transaction) forget(from, to uint64) error {
	for _, status := range []event.Status{event.Error, event.Failed} {
		if _, err := deleteRange(t.parked, parkedKey(status, from), parkedKey(status, to)); err != nil {
			return err
		}
	}
	n, err := deleteRange(t.tx.Bucket(bucketQuarantine), key8(from), key8(to))
	t.db.quarantined.Add(int64(-n))
	return err
}

// deleteRange deletes the keys between two of the same length, the second not
// included.
func deleteRange(b *bolt.Bucket, from, to []byte) (n int, err error) {
	c := b.Cursor()
	for k, _ := c.Seek(from); k != nil && bytes.Compare(k, to) < 0; k, _ = c.Seek(from) {
		if len(k) != len(from) {
			return n, nil // a damaged outbox row under quarantine
		}
		if err := c.Delete(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A dropped segment of at most wholeSegment bytes goes at once: its pages were
// written one after the other, and lie in a row again when they are free together.
// Part by part they would be holes that large values do not fit into, beside which
// the file grows. Of a larger segment a bucket goes at once when it has at most
// wholeBytes: bbolt then only lists its pages. From a larger one purgeBytes and
// purgeKeys bound what one operation deletes.
const (
	wholeSegment = 128 << 20
	wholeBytes   = 8 << 20
	purgeBytes   = 2 << 20
	purgeKeys    = 4096
)

// piece is what of a dropped segment is deleted next.
type piece struct {
	segment, bucket []byte   // no bucket: the segment itself, which has none any more
	keys            [][]byte // none: the whole bucket
	bytes           int64    // of what is left of the segment, as it was dropped
	frees           int64    // about how many of them go with the piece
}

// nextPiece says what is deleted next, but for segments that are passed over: it
// leaves nil for nothing. It reads all that deleting it will read: a damaged page is
// the end of this transaction here, and of the store in the writer.
func (r *snapshot) nextPiece(passed []string, next **piece) error {
	*next = nil
	dropped := r.tx.Bucket(bucketDropped)
	if dropped == nil {
		return nil
	}
	c := dropped.Cursor()
	k, _ := c.First()
	for k != nil && slices.Contains(passed, string(k)) {
		k, _ = c.Next()
	}
	if k == nil {
		return nil
	}
	p := &piece{segment: bytes.Clone(k)}
	*next = p // known also if what follows is damaged
	root := dropped.Bucket(k)
	p.bytes = sizeOfDropped(root)
	if err := r.db.circles(r.tx).ofParts(root); err != nil {
		return err
	}
	if p.bytes <= wholeSegment {
		root.Stats() // which reads what deleting it reads
		return nil
	}
	sub := root.Cursor()
	for k, v := sub.First(); k != nil; k, v = sub.Next() {
		if v == nil {
			p.bucket = bytes.Clone(k)
			p.keys, p.frees = firstKeys(root.Bucket(k))
			return nil
		}
	}
	return nil
}

// firstKeys returns the first keys of a bucket, none when it can go at once, and the
// bytes that go.
func firstKeys(b *bolt.Bucket) (keys [][]byte, frees int64) {
	size := int64(0)
	c := b.Cursor()
	for k, v := c.First(); k != nil && size <= wholeBytes; k, v = c.Next() {
		size += int64(len(k) + len(v))
		if frees < purgeBytes && len(keys) < purgeKeys {
			keys, frees = append(keys, bytes.Clone(k)), size
		}
	}
	if size <= wholeBytes {
		return nil, size
	}
	return keys, frees
}

// purge deletes a piece.
func (t *transaction) purge(p *piece) error {
	dropped := t.tx.Bucket(bucketDropped)
	root := dropped.Bucket(p.segment)
	if root == nil || p.bucket != nil && root.Bucket(p.bucket) == nil {
		return nil // gone meanwhile
	}
	left := sizeOfDropped(root)
	if p.bucket == nil {
		t.db.droppedBytes.Add(-left)
		return dropped.DeleteBucket(p.segment)
	}
	frees := min(p.frees, left)
	t.db.droppedBytes.Add(-frees)
	if err := root.Put(keyBytes, key8(uint64(left-frees))); err != nil { // not negative
		return err
	}
	if p.keys == nil {
		return root.DeleteBucket(p.bucket)
	}
	b := root.Bucket(p.bucket)
	for _, k := range p.keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
