package storage

import (
	"bytes"
	"encoding/binary"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// indexed looks for an event where the indexes must have it, and counts those
// places: an index with as many keys has no others.
func (c *checker) indexed(seq uint64, s *state) {
	for i, d := range s.Deliveries {
		switch d.Status {
		case event.Unprocessed, event.Retry:
			id, ok := c.db.names.number(d.Handler)
			if !ok {
				c.fail("event %d waits for %s, which has no number", seq, d.Handler)
				continue
			}
			if c.inLine(seq, i, &d) {
				continue // and another's turn
			}
			r, ok := findDue(c.tx.Bucket(bucketDue).Cursor(), dueEntry{handler: id, at: dueMicros(d.NextAttempt), seq: seq, delivery: i})
			c.wanted(bucketDue, ok, r.status == d.Status, seq)
		case event.InProgress:
			c.inLine(seq, i, &d)
			c.wanted(bucketInflight, c.tx.Bucket(bucketInflight).Get(deliveryKey(seq, i)) != nil, true, seq)
		default:
			c.inLine(seq, i, &d)
		}
	}
	if s.Status.DeadLetter() {
		c.wanted(bucketParked, c.tx.Bucket(bucketParked).Get(parkedKey(s.Status, seq)) != nil, true, seq)
	}
}

// wanted says what is wrong with the place of an event in an index.
func (c *checker) wanted(index []byte, there, same bool, seq uint64) {
	if !there {
		c.fail("event %d is missing in the index %s", seq, index)
		return
	}
	if c.open[string(index)]++; !same {
		c.fail("event %d has another status in the index %s", seq, index)
	}
}

// indexes looks for what no event asks for. Where its state cannot be read
// nobody knows: its handler's queue gives it up when it meets it.
func (c *checker) indexes() {
	for name, entries := range map[string]func(k, v []byte) (first, n uint64){
		string(bucketDue): func(k, v []byte) (first, n uint64) {
			r, _ := readDueRun(k, v)
			return r.seq, max(r.n, 1)
		},
		string(bucketInflight): func(k, _ []byte) (first, n uint64) {
			seq, _ := seqOfDelivery(k)
			return seq, 1
		},
		string(bucketParked): func(k, _ []byte) (first, n uint64) {
			if len(k) != 9 {
				return 0, 1
			}
			return binary.BigEndian.Uint64(k[1:]), 1
		},
	} {
		n := 0
		_ = c.tx.Bucket([]byte(name)).ForEach(func(k, v []byte) error {
			first, count := entries(k, v)
			for seq := first; seq < first+count; seq++ {
				if !c.lost[seq] {
					n++
				}
			}
			return nil
		})
		if orphans := n - c.open[name]; orphans != 0 {
			c.fail("the index %s has %d keys that belong to no event", name, orphans)
		}
	}
	c.lines()
}

// blocks checks that the blocks of a bucket are about events of the segment, each
// in one place. Retention leaves gaps; what an event lacks is reported with it.
func (c *checker) blocks(b *segmentBuckets, name []byte) {
	want := b.first
	_ = b.root.Bucket(name).ForEach(func(k, v []byte) error {
		n, err := blockCount(v)
		if err != nil || len(k) != 8 {
			want = 0 // its events were reported
			return errDamaged
		}
		if first := binary.BigEndian.Uint64(k); first < want {
			c.fail("segment %d: %s of event %d where %d is next", b.first, name, first, want)
		} else {
			want = first
		}
		want += n
		return nil
	})
	if want > c.next {
		c.fail("segment %d: %s of %d events; want %d at most", b.first, name, want-b.first, c.next-b.first)
	}
}

// ids compares the index of a sealed segment, and its filter, with its heads.
func (c *checker) ids(b *segmentBuckets) {
	ids := b.root.Bucket(bucketIDs)
	if ids == nil {
		return
	}
	x := newOpenIndex()
	if err := c.db.indexHeads(b, x); err != nil {
		c.fail("segment %d: heads: %v", b.first, err)
	}
	want, got := x.sorted(), c.idEntries(b, ids)
	if !includes(got, want) { // of events that are gone there may be more
		c.fail("segment %d: its index of ids has %d entries that are not the %d of its events", b.first, len(got), len(want))
	}
	f := b.root.Bucket(bucketFilter)
	if f == nil {
		c.fail("segment %d: no bucket %s", b.first, bucketFilter)
		return
	}
	filter, err := readFilter(f)
	if err != nil {
		c.fail("segment %d: filter: %v", b.first, err)
		return
	}
	for _, id := range want {
		if !filter.Contains(id.hash) {
			c.fail("segment %d: the filter does not know event %d", b.first, b.first+uint64(id.offset))
		}
	}
}

// includes reports whether a list has all of another, in order.
func includes(list, part []idEntry) bool {
	for _, e := range list {
		if len(part) > 0 && e == part[0] {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func (c *checker) idEntries(b *segmentBuckets, ids *bolt.Bucket) (list []idEntry) {
	_ = ids.ForEach(func(k, v []byte) error {
		if len(k) != 12 || len(v) < 4+idSize || (len(v)-4)%idSize != 0 ||
			binary.LittleEndian.Uint32(v) != checksum(v[4:]) || !bytes.Equal(k[:8], v[4:12]) {
			c.fail("segment %d: a block of its index of ids is damaged", b.first)
			return nil
		}
		for v = v[4:]; len(v) > 0; v = v[idSize:] {
			list = append(list, idEntry{binary.BigEndian.Uint64(v), binary.BigEndian.Uint32(v[8:])})
		}
		return nil
	})
	return list
}

// children checks that entries and payloads beside the records belong to events
// of the segment.
func (c *checker) children(b *segmentBuckets) {
	for _, name := range [][]byte{bucketNotes, bucketBodies} {
		children := b.root.Bucket(name)
		if children == nil {
			c.fail("segment %d: no bucket %s", b.first, name)
			continue
		}
		_ = children.ForEach(func(k, _ []byte) error {
			if len(k) != 12 {
				c.fail("segment %d: %s of no event", b.first, name)
			} else if seq := binary.BigEndian.Uint64(k); seq < b.first || seq >= c.next {
				c.fail("segment %d: %s of event %d", b.first, name, seq)
			}
			return nil
		})
	}
}
