package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/eventd-io/eventd/event"
	bolt "go.etcd.io/bbolt"
)

// probe is a filter made ready to be asked of millions of records: most of them
// are turned away by a look at a few bytes.
type probe struct {
	f     *event.Filter
	db    *DB
	sound bool     // nothing is under quarantine: indexes and counts tell all
	words [][]byte // what the head of an event must contain
}

func newProbe(db *DB, f *event.Filter) *probe {
	p := &probe{f: f, db: db, sound: db.quarantined.Load() == 0}
	for _, w := range []string{f.MessageType, f.SourceService} {
		if w != "" {
			p.words = append(p.words, []byte(w))
		}
	}
	return p
}

// parked reports whether the index of what is parked has all that is selected.
// What is under quarantine is shown as ERROR and need not be there.
func (p *probe) parked() bool {
	return p.sound && (p.f.DeadLetters || p.f.Status.DeadLetter())
}

// mayHold reports whether a segment can hold anything the filter selects. The
// counts and the summary know what is damaged as it was before.
func (p *probe) mayHold(s *segment) bool {
	f, info := p.f, s.seen.Load()
	damaged := !p.sound && (f.DeadLetters || f.Status == event.Error)
	if info.events == 0 || p.count(info) == 0 && !damaged {
		return false
	}
	if !f.Since.IsZero() && fromMicros(info.last).Before(f.Since) {
		return false
	}
	if !p.sound && f.Reason == event.Quarantined {
		return true
	}
	return s.summary.mayHold(f)
}

// count returns how many events of a segment have the table and the status that
// are asked for.
func (p *probe) count(info *segmentInfo) int {
	if p.f.DeadLetters {
		return info.of(p.f.Table, event.Error) + info.of(p.f.Table, event.Failed)
	}
	return info.of(p.f.Table, p.f.Status)
}

// admitsState reports whether an event with the given state record may be
// selected, without decoding more of it than that takes. Of a damaged one it
// cannot tell.
func (p *probe) admitsState(v []byte) bool {
	if checkState(v) != nil {
		return true
	}
	f, r := p.f, reader{b: v[stateHeader+8:]}
	status, table := event.Status(r.byte()), event.Table(r.byte())
	if f.Status != 0 && f.Status != status || f.DeadLetters && !status.DeadLetter() || f.Table != 0 && f.Table != table {
		return false
	}
	created := fromMicros(binary.LittleEndian.Uint64(v[stateHeader:]))
	if !f.Since.IsZero() && created.Before(f.Since) || !f.Until.IsZero() && !created.Before(f.Until) {
		return false
	}
	if reason := readReason(&r); f.Reason != "" && f.Reason != reason {
		return false
	}
	return f.Handler == "" && f.Route == "" || p.admitsDelivery(&r)
}

// admitsDelivery reports whether one of the deliveries in the rest of a state
// record is to the handler and from the route that are asked for.
func (p *probe) admitsDelivery(r *reader) bool {
	p.db.names.read(r) // updated by
	r.uint()           // updated
	var d event.Delivery
	for range r.int() {
		readDelivery(r, &d, fromMicros(0), p.db.names)
		if r.bad {
			return true
		}
		if goesTo(p.f, &d) {
			return true
		}
	}
	return r.bad
}

// admitsHead reports whether an event with the given head may be selected: texts
// stand in it as they are.
func (p *probe) admitsHead(h []byte) bool {
	for _, w := range p.words {
		if !bytes.Contains(h, w) {
			return false
		}
	}
	return true
}

// scanner reads the events of a segment one after the other. It stays where it
// is, so that the next one costs a step and not a search.
type scanner struct {
	*snapshot
	b      *segmentBuckets
	cursor *bolt.Cursor
	state  uint64 // where the cursor is
	heads  []byte // the block of heads read last
	first  uint64 // the seq it begins with
}

// match returns an event if the filter selects it. What is quicker to read is
// asked first.
func (x *scanner) match(p *probe, seq uint64) (rec event.Record, ok bool) {
	if !x.admits(p, seq) {
		return rec, false
	}
	s, err := x.b.state(seq, x.db.names)
	if errors.Is(err, event.ErrNotFound) {
		return rec, false // removed by retention
	}
	if err != nil {
		s = damaged(err)
	}
	if !selectsState(p.f, &s.State) || p.f.Table != 0 && s.table != 0 && s.table != p.f.Table {
		return rec, false
	}
	e := x.event(x.b, seq, s)
	s.Timeline = nil
	return event.Record{Event: *e, State: s.State}, selectsState(p.f, &s.State) && selectsEvent(p.f, e)
}

// admits reports whether an event may be selected. Of a damaged one it cannot
// tell.
func (x *scanner) admits(p *probe, seq uint64) (ok bool) {
	defer func() { ok = ok || recover() != nil }()
	if v, err := x.rawState(seq); err == nil && !p.admitsState(v) {
		return false
	}
	if len(p.words) == 0 {
		return true
	}
	h, err := x.rawHead(seq)
	return err != nil || p.admitsHead(h)
}

// rawState returns the state record of an event. It aliases the file.
func (x *scanner) rawState(seq uint64) (v []byte, err error) {
	defer recoverDamage(&err)
	c := x.cursor
	if c == nil {
		c = x.b.states.Cursor()
	}
	x.cursor = nil // lost when the page is damaged
	var k []byte
	switch {
	case x.state != 0 && seq == x.state+1:
		k, v = c.Next()
	case x.state != 0 && seq == x.state-1:
		k, v = c.Prev()
	}
	if len(k) != 8 || binary.BigEndian.Uint64(k) != seq {
		if k, v = c.Seek(key8(seq)); !bytes.Equal(k, key8(seq)) {
			x.state = 0
			return nil, errDamaged
		}
	}
	x.cursor, x.state = c, seq
	return v, nil
}

// rawHead returns the head of an event. It aliases the file.
func (x *scanner) rawHead(seq uint64) ([]byte, error) {
	if n, err := blockCount(x.heads); err == nil && seq >= x.first && seq-x.first < n {
		return blockRecord(x.heads, seq-x.first)
	}
	k, v, err := blockOf(x.b.heads, seq)
	if err != nil {
		return nil, err
	}
	x.first, x.heads = k, v
	return blockRecord(v, seq-k)
}

// parkedBetween returns which of some events are parked as the filter asks, in
// their order.
func (r *snapshot) parkedBetween(f *event.Filter, from, to uint64) (seqs []uint64) {
	for _, status := range []event.Status{event.Error, event.Failed} {
		if !f.DeadLetters && f.Status != status {
			continue
		}
		c := r.tx.Bucket(bucketParked).Cursor()
		end := parkedKey(status, to)
		for k, _ := c.Seek(parkedKey(status, from)); len(k) == 9 && bytes.Compare(k, end) < 0; k, _ = c.Next() {
			seqs = append(seqs, binary.BigEndian.Uint64(k[1:]))
		}
	}
	slices.Sort(seqs)
	return seqs
}

func selectsState(f *event.Filter, s *event.State) bool {
	if f.Status != 0 && s.Status != f.Status || f.DeadLetters && !s.Status.DeadLetter() || f.Reason != "" && s.Reason != f.Reason {
		return false
	}
	if f.Handler == "" && f.Route == "" {
		return true
	}
	return slices.ContainsFunc(s.Deliveries, func(d event.Delivery) bool { return goesTo(f, &d) })
}

func goesTo(f *event.Filter, d *event.Delivery) bool {
	return (f.Handler == "" || d.Handler == f.Handler) && (f.Route == "" || d.Route == f.Route)
}

func selectsEvent(f *event.Filter, e *event.Event) bool {
	return (f.Table == 0 || e.Table == f.Table) &&
		(f.MessageType == "" || e.MessageType == f.MessageType) &&
		(f.SourceService == "" || e.SourceService == f.SourceService) &&
		(f.CorrelationID == "" || e.CorrelationID == f.CorrelationID) &&
		(f.Since.IsZero() || !e.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || e.CreatedAt.Before(f.Until))
}
