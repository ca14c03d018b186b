package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/eventd-io/eventd/event"
)

// summary tells, without reading a segment, what none of its events has: which
// message types, services, handlers, routes and reasons, and nothing older than.
// It is one small Bloom filter, which holds a few hundred different names; with
// many more it says ever less, and never anything wrong.
//
// It only grows: a reason that an event had once stays in it. It is written when
// the segment is sealed, and again when it has grown after that, which is rare.
// That of a segment that was not sealed when the store was closed is made anew
// in the background; until then it says nothing.
type summary struct {
	whole  atomic.Bool   // it knows of every event
	oldest atomic.Uint64 // µs, creation of the oldest event
	bits   [summaryWords]atomic.Uint64
	kept   bool // the writer's: it is in the file…
	grown  bool // …but not as it is now
}

const (
	summaryWords   = 64
	summaryVersion = 1
)

// keySummary stands beside the filter of ids.
var keySummary = []byte("summary")

// trait is what kind of name a summary is asked about.
type trait uint64

const (
	traitType trait = iota + 1
	traitService
	traitHandler
	traitRoute
	traitReason
)

// places returns the four bits of a name, twelve bits of the result each.
func (t trait) places(name string) uint64 {
	return (xxhash.Sum64String(name) ^ uint64(t)*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd >> 16
}

// add makes a name known. The caller is the writer, or Open.
func (x *summary) add(t trait, name string) {
	if name == "" {
		return // no filter asks for it
	}
	for h, n := t.places(name), 0; n < 4; h, n = h>>12, n+1 {
		word, bit := &x.bits[h>>6%summaryWords], uint64(1)<<(h%64)
		if word.Load()&bit == 0 {
			word.Or(bit)
			x.grown = true
		}
	}
}

// lacks reports whether no event has a name; "" stands for any.
func (x *summary) lacks(t trait, name string) bool {
	if name == "" {
		return false
	}
	for h, n := t.places(name), 0; n < 4; h, n = h>>12, n+1 {
		if x.bits[h>>6%summaryWords].Load()&(1<<(h%64)) == 0 {
			return true
		}
	}
	return false
}

// mayHold reports whether a segment may hold what a filter selects.
func (x *summary) mayHold(f *event.Filter) bool {
	if !x.whole.Load() {
		return true
	}
	return !x.lacks(traitType, f.MessageType) && !x.lacks(traitService, f.SourceService) &&
		!x.lacks(traitHandler, f.Handler) && !x.lacks(traitRoute, f.Route) &&
		!x.lacks(traitReason, string(f.Reason)) &&
		(f.Until.IsZero() || x.oldest.Load() < micros(f.Until))
}

// addEvent makes a new event known.
func (x *summary) addEvent(e *event.Event, s *event.State) {
	x.add(traitType, e.MessageType)
	x.add(traitService, e.SourceService)
	x.addTime(micros(e.CreatedAt))
	x.addDeliveries(nil, s.Deliveries)
}

// addDeliveries makes known where deliveries go, as far as that is new.
func (x *summary) addDeliveries(old, now []event.Delivery) {
	for i := range now {
		d := &now[i]
		if i < len(old) && d.Handler == old[i].Handler && d.Route == old[i].Route {
			continue
		}
		x.add(traitHandler, d.Handler)
		x.add(traitRoute, d.Route)
	}
}

// addTime is for the writer and who makes a summary anew, side by side.
func (x *summary) addTime(created uint64) {
	for {
		oldest := x.oldest.Load()
		if created >= oldest || x.oldest.CompareAndSwap(oldest, created) {
			return
		}
	}
}

func (x *summary) encode() []byte {
	b := binary.LittleEndian.AppendUint64([]byte{summaryVersion}, x.oldest.Load())
	for i := range x.bits {
		b = binary.LittleEndian.AppendUint64(b, x.bits[i].Load())
	}
	return sealed(b)
}

// load reads a summary that was kept. It returns false when there is none.
func (x *summary) load(v []byte) bool {
	b, err := unsealed(v)
	if err != nil || len(b) != 1+8+8*summaryWords || b[0] != summaryVersion {
		return false
	}
	x.oldest.Store(binary.LittleEndian.Uint64(b[1:]))
	for i := range x.bits {
		x.bits[i].Store(binary.LittleEndian.Uint64(b[9+8*i:]))
	}
	x.kept = true
	x.whole.Store(true)
	return true
}

// keep writes a summary that has grown since it was written.
func (x *summary) keep(b *segmentBuckets) error {
	if !x.kept || !x.grown {
		return nil
	}
	filter := b.root.Bucket(bucketFilter)
	if filter == nil {
		return nil // made anew at the next start
	}
	x.grown = false
	return filter.Put(keySummary, x.encode())
}

// newSegment returns a segment that nothing is known of yet.
func newSegment(first uint64) *segment {
	s := &segment{first: first}
	s.summary.oldest.Store(math.MaxUint64)
	return s
}

// summarize makes the summaries that are missing after a start.
func (db *DB) summarize() {
	for _, s := range db.segmentList() {
		if s.summary.whole.Load() {
			continue
		}
		err := db.summarizeSegment(s)
		if errors.Is(err, ErrClosed) || errors.Is(err, event.ErrNotFound) {
			continue
		}
		if err != nil {
			db.log.Warn().Err(err).Uint64("segment", s.first).Msg("no summary of a segment: lists look through it")
		}
	}
}

// summarizeSlice is how many events are read in one go: fewer than of a query, for whom
// somebody waits.
const summarizeSlice = 64

func (db *DB) summarizeSegment(s *segment) error {
	made := &newSegment(s.first).summary
	end := s.first + uint64(s.seen.Load().events) // the writer knows those behind
	for from := s.first; from < end; from += summarizeSlice {
		began := time.Now()
		err := db.view(context.Background(), func(r *snapshot) error {
			b, err := r.segment(s)
			if err != nil {
				return err
			}
			x := &scanner{snapshot: r, b: b}
			for seq := from; seq < min(end, from+summarizeSlice); seq++ {
				made.read(x, seq)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !db.rest(began) {
			return ErrClosed
		}
	}
	if s.open.Load() != nil {
		s.summary.join(made) // it is written when the segment is sealed
		return nil
	}
	return db.do(context.Background(), func(t *transaction) error { return t.putSummary(s, made) })
}

// headNames is what a summary knows of a head.
type headNames struct {
	MessageType   string `cbor:"2,keyasint,omitempty"`
	SourceService string `cbor:"3,keyasint,omitempty"`
	CreatedAt     uint64 `cbor:"8,keyasint"`
}

// read makes a stored event known. One that is damaged is shown as such whatever
// the summary says: see [probe.mayHold].
func (x *summary) read(from *scanner, seq uint64) {
	if v, err := from.rawState(seq); err == nil {
		if s, err := decodeState(v, from.db.names); err == nil {
			x.addDeliveries(nil, s.Deliveries)
			x.add(traitReason, string(s.Reason))
		}
	}
	h, err := from.rawHead(seq)
	if err != nil {
		return
	}
	var names headNames
	if _, _, rest, err := headIDs(h); err == nil && lenient.Unmarshal(rest, &names) == nil {
		x.add(traitType, names.MessageType)
		x.add(traitService, names.SourceService)
		x.addTime(names.CreatedAt)
	}
}

// join adds what was read of a segment to what its summary has learnt since.
func (x *summary) join(made *summary) {
	for i := range x.bits {
		x.bits[i].Or(made.bits[i].Load())
	}
	x.addTime(made.oldest.Load())
	x.whole.Store(true)
}

// putSummary keeps the summary of a sealed segment that had none.
func (t *transaction) putSummary(s *segment, made *summary) error {
	x := &s.summary
	x.join(made)
	b, err := t.segment(s)
	if err != nil || b.root.Bucket(bucketFilter) == nil {
		return nil // gone or damaged; whom that concerns meets it elsewhere
	}
	x.kept, x.grown = true, true
	return x.keep(b)
}
