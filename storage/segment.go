package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// A segment is full at segmentEvents events, or when it is older than
// segmentAge, sooner where retention is short: see [policy.segmentAge]. It is
// the unit in which history is dropped.
const (
	segmentEvents = 1 << 16
	segmentAge    = 6 * time.Hour
)

// segment is a run of events as it is known in memory.
type segment struct {
	first uint64
	info  segmentInfo                 // the writer's
	seen  atomic.Pointer[segmentInfo] // everyone else's: as of the last commit
	open  atomic.Pointer[openIndex]   // nil once sealed
	ids   atomic.Pointer[filter]      // nil until sealed

	column atomic.Pointer[column] // nil where it has no place in a sieve

	summary summary
	walked  atomic.Int32 // see walkable
}

// segmentInfo is what is stored about a segment beside its records.
type segmentInfo struct {
	events        uint32
	counts        [len(tableIndex)][len(statusIndex)]uint32
	created, last uint64 // µs, of the first and the last event
}

var (
	tableIndex  = [...]event.Table{event.Inbound, event.Request, event.Response}
	statusIndex = [...]event.Status{
		event.Unprocessed, event.InProgress, event.Completed, event.Retry, event.Error, event.Failed,
	}
)

func (i *segmentInfo) count(t event.Table, s event.Status, by int) {
	if t >= event.Inbound && int(t) <= len(tableIndex) && s >= event.Unprocessed && int(s) <= len(statusIndex) {
		i.counts[t-1][s-1] += uint32(by) // wraps for minus one
	}
}

// of returns the number of events with the given status; 0 stands for all.
func (i *segmentInfo) of(t event.Table, s event.Status) (n int) {
	for ti := range i.counts {
		for si := range i.counts[ti] {
			if (t == 0 || int(t) == ti+1) && (s == 0 || int(s) == si+1) {
				n += int(i.counts[ti][si])
			}
		}
	}
	return n
}

const infoVersion = 1

func (i *segmentInfo) encode() []byte {
	b := make([]byte, 5, 64)
	b[0] = infoVersion
	b = binary.AppendUvarint(b, uint64(i.events))
	b = binary.AppendUvarint(b, i.created)
	b = binary.AppendUvarint(b, i.last)
	for _, table := range i.counts {
		for _, n := range table {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	binary.LittleEndian.PutUint32(b[1:], checksum(b[5:]))
	return b
}

func decodeInfo(b []byte) (i segmentInfo, err error) {
	if len(b) < 5 || b[0] != infoVersion || binary.LittleEndian.Uint32(b[1:]) != checksum(b[5:]) {
		return i, errDamaged
	}
	r := reader{b: b[5:]}
	i.events = uint32(r.uint()) // written from one
	i.created, i.last = r.uint(), r.uint()
	for t := range i.counts {
		for s := range i.counts[t] {
			i.counts[t][s] = uint32(r.uint()) // written from one
		}
	}
	if r.bad {
		return i, errDamaged
	}
	return i, nil
}

// publish shows everyone what the writer has committed.
func (s *segment) publish() {
	info := s.info
	s.seen.Store(&info)
}

func (s *segment) full(now time.Time, o *Options) bool {
	return s.info.events >= o.segmentEvents ||
		s.info.events > 0 && now.Sub(fromMicros(s.info.created)) > o.age
}

// Names of the buckets in a segment.
var (
	bucketHeads    = []byte("heads")
	bucketPayloads = []byte("payloads")
	bucketStates   = []byte("states")
	bucketNotes    = []byte("notes")
	bucketBodies   = []byte("bodies")
	bucketIDs      = []byte("ids")
	bucketFilter   = []byte("filter")
	keyInfo        = []byte("info")
	keyNarrow      = []byte("fuse8")
	keyFilter      = []byte("fuse16") // in a bucket of its own: info is rewritten with every step
)

// segmentParts are the buckets that a segment may have.
var segmentParts = [][]byte{
	bucketHeads, bucketPayloads, bucketStates, bucketNotes, bucketBodies, bucketIDs, bucketFilter, bucketWorking,
}

// recount makes the info of a segment anew from its states. What cannot be read
// is an event, but of no table and status.
func recount(states *bolt.Bucket, first uint64) (i segmentInfo) {
	c := states.Cursor()
	for k, v := c.First(); len(k) == 8; k, v = c.Next() {
		i.events = uint32(binary.BigEndian.Uint64(k) - first + 1) // below segmentEvents
		if checkState(v) != nil {
			continue
		}
		created := binary.LittleEndian.Uint64(v[stateHeader:])
		if i.created == 0 {
			i.created = created
		}
		i.last = max(i.last, created)
		i.count(event.Table(v[stateHeader+9]), event.Status(v[stateHeader+8]), 1)
	}
	return i
}

// segmentBuckets are the buckets of a segment in one transaction.
type segmentBuckets struct {
	*segment
	root, heads, payloads, states *bolt.Bucket

	stateCursor *bolt.Cursor // kept: a new one with every look is six of forty allocations in the life of an event
}

// stateRecord returns the bytes of a state, nil if there is none.
func (b *segmentBuckets) stateRecord(seq uint64) []byte {
	if b.stateCursor == nil {
		b.stateCursor = b.states.Cursor()
	}
	key := key8(seq)
	k, v := b.stateCursor.Seek(key)
	if !bytes.Equal(k, key) {
		return nil
	}
	return v
}

func openSegment(segments *bolt.Bucket, s *segment) (b *segmentBuckets, err error) {
	defer recoverDamage(&err)
	root := segments.Bucket(key8(s.first))
	if root == nil {
		return nil, fmt.Errorf("%w: segment %d is missing", ErrCorrupt, s.first)
	}
	b = &segmentBuckets{
		segment: s, root: root, heads: root.Bucket(bucketHeads),
		payloads: root.Bucket(bucketPayloads), states: root.Bucket(bucketStates),
	}
	if b.heads == nil || b.payloads == nil || b.states == nil {
		return nil, fmt.Errorf("%w: segment %d is incomplete", ErrCorrupt, s.first)
	}
	b.heads.FillPercent, b.payloads.FillPercent, b.states.FillPercent = 0.95, 0.95, 0.95
	return b, nil
}

func createSegment(segments *bolt.Bucket, s *segment) (*segmentBuckets, error) {
	root, err := segments.CreateBucket(key8(s.first))
	if err != nil {
		return nil, err
	}
	for _, name := range [][]byte{bucketHeads, bucketPayloads, bucketStates, bucketNotes, bucketBodies} {
		if _, err := root.CreateBucket(name); err != nil {
			return nil, err
		}
	}
	return openSegment(segments, s)
}

// fromBlocks returns the record of an event in a bucket of blocks. It aliases
// the file and is good until the transaction ends. A damaged page is a damaged
// record: it concerns the events in it, not whoever reads others.
func fromBlocks(b *bolt.Bucket, seq uint64) (record []byte, err error) {
	defer recoverDamage(&err)
	first, v, err := blockOf(b, seq)
	if err != nil {
		return nil, err
	}
	return blockRecord(v, seq-first)
}

// blockOf returns the block that an event is in and the seq it begins with.
func blockOf(b *bolt.Bucket, seq uint64) (first uint64, block []byte, err error) {
	defer recoverDamage(&err)
	c := b.Cursor()
	k, v := c.Seek(key8(seq))
	if k == nil {
		k, v = c.Last()
	} else if binary.BigEndian.Uint64(k) > seq {
		k, v = c.Prev()
	}
	if len(k) != 8 {
		return 0, nil, errAbsent
	}
	return binary.BigEndian.Uint64(k), v, nil
}

func (b *segmentBuckets) head(seq uint64) ([]byte, error) { return fromBlocks(b.heads, seq) }

// payload returns the bytes an event came with, errRemoved when retention took
// them. That happens only to what has ended: of anything else they are damaged.
func (b *segmentBuckets) payload(seq uint64) ([]byte, error) {
	p, err := fromBlocks(b.payloads, seq)
	if errors.Is(err, errAbsent) || errors.Is(err, errRemoved) {
		if s, e := b.status(seq); e == nil && s.Final() {
			return nil, errRemoved
		}
		return nil, errDamaged
	}
	return p, err
}

func (b *segmentBuckets) event(seq uint64) (*event.Event, error) {
	h, err := b.head(seq)
	if err != nil {
		return nil, fmt.Errorf("head of event %d: %w", seq, err)
	}
	e, err := decodeHead(seq, h)
	if err != nil {
		return nil, fmt.Errorf("head of event %d: %w", seq, err)
	}
	return e, nil
}

// gone reports whether retention took an event: there is neither a state nor a
// head. Where one of them is left the other is damaged.
func (b *segmentBuckets) gone(seq uint64) bool {
	if b.has(seq) {
		return false
	}
	_, err := b.head(seq)
	return errors.Is(err, errRemoved) || errors.Is(err, errAbsent)
}

// has reports whether there is such an event; also one whose page is damaged is.
func (b *segmentBuckets) has(seq uint64) (ok bool) {
	defer func() { ok = ok || recover() != nil }()
	return b.stateRecord(seq) != nil
}

// status returns the status of an event without decoding the rest of its state;
// [event.ErrNotFound] when there is none, or retention took it.
func (b *segmentBuckets) status(seq uint64) (s event.Status, err error) {
	defer recoverDamage(&err)
	v := b.stateRecord(seq)
	if v == nil {
		return 0, notFound(seq)
	}
	return stateStatus(v)
}

// state returns the state of an event; [event.ErrNotFound] as for status.
func (b *segmentBuckets) state(seq uint64, names *names) (s *state, err error) {
	defer recoverDamage(&err)
	v := b.stateRecord(seq)
	if v == nil {
		return nil, notFound(seq)
	}
	if s, err = decodeState(v, names); err != nil {
		return nil, fmt.Errorf("state of event %d: %w", seq, err)
	}
	return s, nil
}
