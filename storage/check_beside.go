package storage

import (
	"encoding/binary"
	"errors"

	"github.com/eventd-io/eventd/event"
)

// documents checks the working data in a segment: it can be read, belongs to the
// conversation of the event it lies under, and no conversation has two.
func (c *checker) documents(b *segmentBuckets) {
	w := b.root.Bucket(bucketWorking)
	if w == nil {
		return
	}
	_ = w.ForEach(func(k, v []byte) error {
		if len(k) != 8 || v == nil {
			c.fail("segment %d: working data of no event", b.first)
			return nil
		}
		seq := binary.BigEndian.Uint64(k)
		if seq < b.first || seq >= c.next || b.gone(seq) {
			c.fail("segment %d: working data of event %d, which is not there", b.first, seq)
			return nil
		}
		d, err := decodeDocument(v)
		if err != nil {
			c.fail("working data beside event %d: %v", seq, err)
			return nil
		}
		c.document(b, seq, &d)
		return nil
	})
}

func (c *checker) document(b *segmentBuckets, seq uint64, d *event.Document) {
	if e, err := b.event(seq); err == nil && e.CorrelationID != d.CorrelationID {
		c.fail("working data beside event %d is of another conversation, %q", seq, d.CorrelationID)
	}
	if d.Version == 0 || len(d.Body) > event.MaxDocument {
		c.fail("working data of %q has version %d and %d bytes", d.CorrelationID, d.Version, len(d.Body))
	}
	hash := hashCorrelation([]byte(d.CorrelationID))
	if other, twice := c.conversations[hash]; twice && c.hasDocument(other, d.CorrelationID) {
		c.fail("conversation %q has working data beside event %d and event %d", d.CorrelationID, other, seq)
	}
	c.conversations[hash] = seq
}

// hasDocument reports whether an event has the working data of a conversation
// beside it.
func (c *checker) hasDocument(seq uint64, id string) bool {
	b, err := c.of(seq)
	if err != nil {
		return false
	}
	d, found, err := b.document(seq)
	return err == nil && found && d.CorrelationID == id
}

// awaiting checks the index of the requests that await a response: each of its keys
// is of a delivery that has sent one. It keeps their ids in mind: no response may
// have one.
func (c *checker) awaiting() {
	bucket := c.tx.Bucket(bucketAwaiting)
	if bucket == nil {
		return
	}
	_ = bucket.ForEach(func(k, v []byte) error {
		if len(k) != awaitingKeySize {
			c.fail("the index awaiting has a key of %d bytes", len(k))
			return nil
		}
		seq := binary.BigEndian.Uint64(k[4:])
		a, _ := readAwaited(binary.BigEndian.Uint32(k), k, v)
		if a.sent.Equal(never) {
			c.fail("event %d: since when it awaits a response is damaged", seq)
		}
		b, err := c.of(seq)
		if err != nil {
			c.fail("event %d is in the index awaiting, and not there", seq)
			return nil
		}
		c.awaits(b, k, &a)
		return nil
	})
}

func (c *checker) awaits(b *segmentBuckets, k []byte, a *awaited) {
	name, known := c.db.names.name(binary.BigEndian.Uint32(k))
	s, err := b.state(a.seq, c.db.names)
	if err != nil {
		return // it is reported where states are looked at
	}
	n := int(binary.BigEndian.Uint16(k[12:]))
	if !known || n >= len(s.Deliveries) || s.Deliveries[n].Handler != name {
		c.fail("event %d is in the index awaiting for a delivery that it has not", a.seq)
	} else if s.Deliveries[n].Status != event.Completed {
		c.fail("event %d is in the index awaiting, and its delivery to %s is %s", a.seq, name, s.Deliveries[n].Status)
	}
	if !a.sent.Equal(never) && !a.created.Equal(s.created) {
		c.fail("event %d has another creation in the index awaiting", a.seq)
	}
	if e, err := b.event(a.seq); err == nil {
		c.awaited[hashID([]byte(e.ID))] = a.seq
	}
}

// answers reports a response to a request that awaits one still.
func (c *checker) answers(e *event.Event) {
	if len(c.awaited) == 0 || e.Table != event.Response {
		return
	}
	seq, ok := c.awaited[hashID([]byte(e.ID))]
	if !ok {
		return
	}
	b, err := c.of(seq)
	if err != nil {
		return
	}
	if request, err := b.event(seq); err == nil && request.ID == e.ID {
		c.fail("event %d is in the index awaiting, and event %d is its response", seq, e.Seq)
	}
}

// jobs checks that positions of sources and jobs of redrives can be read.
func (c *checker) jobs() {
	_ = c.tx.Bucket(bucketSources).ForEach(func(k, v []byte) error {
		if _, err := decodePosition(v); err != nil {
			c.fail("position of source %s: %v", k, err)
		}
		return nil
	})
	if bucket := c.tx.Bucket(bucketRedrives); bucket != nil {
		_ = bucket.ForEach(func(k, v []byte) error {
			if _, err := decodeRedrive(k, v); err != nil {
				c.fail("redrive %s: %v", pathName([][]byte{k}), err)
			}
			return nil
		})
	}
}

// orphans reports what the layout has no place for: nobody would read it, nor
// remove it.
func (c *checker) orphans(b *segmentBuckets) {
	err := b.root.ForEach(func(k, v []byte) error {
		for _, known := range segmentParts {
			if string(k) == string(known) && v == nil {
				return nil
			}
		}
		if string(k) == string(keyInfo) && v != nil {
			return nil
		}
		return errors.New(string(k))
	})
	if err != nil {
		c.fail("segment %d: %q has no place in it", b.first, err.Error())
	}
}
