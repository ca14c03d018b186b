package storage

import (
	"encoding/binary"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// spill moves the timeline to the bucket notes when it is too large to be
// rewritten with every step. What is moved is written once.
func (t *transaction) spill(b *segmentBuckets, seq uint64, s *state) error {
	if !tooLarge(s.Timeline) {
		return nil
	}
	notes := b.root.Bucket(bucketNotes)
	for i := range s.Timeline {
		key := noteKey(seq, s.spilled+i)
		if err := notes.Put(key, encodeNote(s, &s.Timeline[i], t.db.names)); err != nil {
			return err
		}
	}
	s.spilled += len(s.Timeline)
	s.Timeline = nil
	return nil
}

func tooLarge(timeline []event.Entry) bool {
	if len(timeline) > inlineEntries {
		return true
	}
	for i := range timeline {
		if len(timeline[i].Detail) > inlineDetail {
			return true
		}
	}
	return false
}

func noteKey(seq uint64, n int) []byte {
	return binary.BigEndian.AppendUint32(key8(seq), uint32(n)) // counts up from 0
}

// encodeNote returns: version 1 | crc32c u32 of the rest | entry.
func encodeNote(s *state, e *event.Entry, names *names) []byte {
	b := make([]byte, 5, 32+len(e.Detail))
	b[0] = stateVersion
	b = appendEntry(b, e, s.created, names)
	binary.LittleEndian.PutUint32(b[1:], checksum(b[5:]))
	return b
}

// readNotes puts the spilled entries in front of the timeline. One that is
// damaged or missing stands there as such: the state itself is sound.
func readNotes(root *bolt.Bucket, seq uint64, s *state, names *names) {
	all := make([]event.Entry, 0, s.spilled+len(s.Timeline))
	notes := notesOf(root)
	for n := range s.spilled {
		e, err := readNote(notes, noteKey(seq, n), s, names)
		if err != nil {
			e = event.Entry{Status: event.Error, Reason: event.Quarantined, Detail: "this entry of the timeline is damaged"}
		}
		all = append(all, e)
	}
	s.Timeline = append(all, s.Timeline...)
}

// notesOf returns nil where the bucket is damaged.
func notesOf(segment *bolt.Bucket) (notes *bolt.Bucket) {
	defer func() { _ = recover() }()
	return segment.Bucket(bucketNotes)
}

func readNote(notes *bolt.Bucket, key []byte, s *state, names *names) (e event.Entry, err error) {
	defer recoverDamage(&err)
	v := notes.Get(key)
	if len(v) < 5 || v[0] != stateVersion || binary.LittleEndian.Uint32(v[1:]) != checksum(v[5:]) {
		return e, errDamaged
	}
	r := reader{b: v[5:]}
	readEntry(&r, &e, s.created, names)
	if r.bad {
		return e, errDamaged
	}
	return e, nil
}
