package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// slice is how many records a query looks at in one read transaction: a scan
// of the whole history must not keep old pages from being reused.
const slice = 5000

// Get returns one event with its whole timeline.
func (db *DB) Get(ctx context.Context, seq uint64) (rec event.Record, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		rec, err = r.record(seq)
		return err
	})
	return rec, err
}

// Payload returns the bytes an event came with. They are a copy. Errors:
// [ErrQuarantined] when they are damaged, [event.ErrPayloadRemoved] when
// retention took them.
func (db *DB) Payload(ctx context.Context, seq uint64) (body []byte, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b, err := r.of(seq)
		if err != nil {
			return err
		}
		p, err := b.payload(seq)
		body = append([]byte{}, p...)
		return quarantined(seq, err)
	})
	return body, err
}

// Payloads returns the payload rows of an event, the one it came with first.
// Those whose bytes retention took say so: [event.Payload.Removed].
// [ErrQuarantined]: one of them is damaged; those before it are returned.
func (db *DB) Payloads(ctx context.Context, seq uint64) (rows []event.Payload, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b, err := r.of(seq)
		if err != nil {
			return err
		}
		rows, err = readBodies(b, seq)
		return quarantined(seq, err)
	})
	return rows, err
}

// quarantined names the event whose record turned out to be damaged.
func quarantined(seq uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRemoved):
		return fmt.Errorf("event %d: %w", seq, event.ErrPayloadRemoved)
	}
	return fmt.Errorf("event %d: %w: %w", seq, ErrQuarantined, err)
}

// Find returns the events with the given event id, over all tables, newest
// first, with their timelines.
func (db *DB) Find(ctx context.Context, id string) (list []event.Record, err error) {
	hash := hashID([]byte(id))
	places := db.places(hash)
	err = db.view(ctx, func(r *snapshot) error {
		for _, seq := range r.seqs(places, hash) {
			rec, err := r.record(seq)
			if rec.ID == "" {
				rec.ID = id // its head is damaged; the index says it has this id
			}
			if err == nil && rec.ID == id {
				list = append(list, rec)
			}
		}
		return nil
	})
	return list, err
}

// record returns an event with its timeline, [event.ErrNotFound] if there is
// none. One with a damaged record is returned as far as it can be read, as
// ERROR `quarantined`.
func (r *snapshot) record(seq uint64) (rec event.Record, err error) {
	b, err := r.of(seq)
	if err != nil {
		return rec, err
	}
	s := r.state(b, seq)
	if s.spilled > 0 {
		readNotes(b.root, seq, s, r.db.names)
	}
	return event.Record{Event: *r.event(b, seq, s), State: s.State}, nil
}

// state returns the state of an event, one that says so if it is damaged.
func (r *snapshot) state(b *segmentBuckets, seq uint64) *state {
	s, err := b.state(seq, r.db.names)
	if err != nil {
		return damaged(err)
	}
	return s
}

func damaged(err error) *state {
	s := &state{}
	s.damage(err)
	return s
}

// event returns an event. If its head is damaged, what the state knows stands
// for it, and the state says that it is.
func (r *snapshot) event(b *segmentBuckets, seq uint64, s *state) *event.Event {
	e, err := b.event(seq)
	if err != nil {
		e = &event.Event{Seq: seq, Table: s.table, CreatedAt: s.created}
		s.damage(err)
	}
	return e
}

// damage shows an event as quarantined.
func (s *state) damage(err error) {
	s.Status, s.Reason = event.Error, event.Quarantined
	s.Timeline = append(s.Timeline, event.Entry{Status: event.Error, Reason: event.Quarantined, Detail: err.Error()})
}

// List returns the records a filter selects, newest first unless the page says
// otherwise, without timelines. next continues behind the last of them; 0 says
// there are no more.
func (db *DB) List(ctx context.Context, f event.Filter, p event.Page) (list []event.Record, next uint64, err error) {
	p.Limit = max(p.Limit, 1)
	if f.CorrelationID != "" {
		return db.listCorrelation(ctx, f, p)
	}
	segments := db.segmentList()
	for i := range segments {
		s := segments[i]
		if !p.OldestFirst {
			s = segments[len(segments)-1-i]
		}
		if !db.mayMatch(s, &f, &p) {
			continue
		}
		if err := db.scan(ctx, s, &f, &p, &list); err != nil {
			return nil, 0, err
		}
		if len(list) > p.Limit {
			break
		}
	}
	list, next = cut(list, p.Limit)
	return list, next, nil
}

// cut returns the page and, when there is more, the seq it ends with.
func cut(list []event.Record, limit int) ([]event.Record, uint64) {
	if len(list) <= limit {
		return list, 0
	}
	return list[:limit], list[limit-1].Seq
}

// mayMatch reports whether a segment can hold anything the filter selects. The
// counts know the status and table of what is damaged as it was before.
func (db *DB) mayMatch(s *segment, f *event.Filter, p *event.Page) bool {
	info := s.seen.Load()
	if info.events == 0 || info.of(f.Table, f.Status) == 0 && (f.Status != event.Error || db.quarantined.Load() == 0) {
		return false
	}
	if !f.Since.IsZero() && fromMicros(info.last).Before(f.Since) {
		return false
	}
	if p.After == 0 {
		return true
	}
	if p.OldestFirst {
		return s.first+uint64(info.events) > p.After
	}
	return s.first < p.After
}

// scan appends what a segment holds of a page, and one more if there is one,
// in read transactions of bounded length.
func (db *DB) scan(ctx context.Context, s *segment, f *event.Filter, p *event.Page, list *[]event.Record) error {
	low, high := s.first, s.first+uint64(s.seen.Load().events) // half open
	if p.After != 0 && p.OldestFirst {
		low = max(low, p.After+1)
	} else if p.After != 0 {
		high = min(high, p.After)
	}
	for low < high && len(*list) <= p.Limit {
		from, to := low, min(high, low+slice)
		if !p.OldestFirst {
			from, to = max(low, high-min(high, slice)), high
		}
		err := db.view(ctx, func(r *snapshot) error { return r.scan(s, from, to, f, p, list) })
		if err != nil {
			return err
		}
		if p.OldestFirst {
			low = to
		} else {
			high = from
		}
	}
	return nil
}

func (r *snapshot) scan(s *segment, from, to uint64, f *event.Filter, p *event.Page, list *[]event.Record) error {
	b, err := r.segment(s)
	if errors.Is(err, event.ErrNotFound) {
		return nil // dropped meanwhile
	}
	if err != nil {
		return err
	}
	for i := uint64(0); i < to-from && len(*list) <= p.Limit; i++ {
		seq := from + i
		if !p.OldestFirst {
			seq = to - 1 - i
		}
		if rec, ok := r.match(b, seq, f); ok {
			*list = append(*list, rec)
		}
	}
	return nil
}

// match returns an event if the filter selects it. What is quicker to read is
// asked first.
func (r *snapshot) match(b *segmentBuckets, seq uint64, f *event.Filter) (rec event.Record, ok bool) {
	if f.Status != 0 {
		if status, err := b.status(seq); err == nil && status != f.Status {
			return rec, false
		}
	}
	s, err := b.state(seq, r.db.names)
	if errors.Is(err, event.ErrNotFound) {
		return rec, false // removed by retention
	}
	if err != nil {
		s = damaged(err)
	}
	if !selectsState(f, &s.State) || f.Table != 0 && s.table != 0 && s.table != f.Table {
		return rec, false
	}
	e := r.event(b, seq, s)
	s.Timeline = nil
	return event.Record{Event: *e, State: s.State}, selectsState(f, &s.State) && selectsEvent(f, e)
}

func selectsState(f *event.Filter, s *event.State) bool {
	if f.Status != 0 && s.Status != f.Status || f.Reason != "" && s.Reason != f.Reason {
		return false
	}
	if f.Handler == "" && f.Route == "" {
		return true
	}
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if (f.Handler == "" || d.Handler == f.Handler) && (f.Route == "" || d.Route == f.Route) {
			return true
		}
	}
	return false
}

func selectsEvent(f *event.Filter, e *event.Event) bool {
	return (f.Table == 0 || e.Table == f.Table) &&
		(f.MessageType == "" || e.MessageType == f.MessageType) &&
		(f.SourceService == "" || e.SourceService == f.SourceService) &&
		(f.CorrelationID == "" || e.CorrelationID == f.CorrelationID) &&
		(f.Since.IsZero() || !e.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || e.CreatedAt.Before(f.Until))
}

// listCorrelation lists one conversation: through the index of ids.
func (db *DB) listCorrelation(ctx context.Context, f event.Filter, p event.Page) (list []event.Record, next uint64, err error) {
	seqs, err := db.correlated(ctx, f.CorrelationID)
	if err != nil {
		return nil, 0, err
	}
	for part := range slices.Chunk(rest(seqs, p), slice) {
		err := db.view(ctx, func(r *snapshot) error {
			for i := 0; i < len(part) && len(list) <= p.Limit; i++ {
				b, err := r.of(part[i])
				if err != nil {
					continue
				}
				if rec, ok := r.match(b, part[i], &f); ok {
					list = append(list, rec)
				}
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	list, next = cut(list, p.Limit)
	return list, next, nil
}

// correlated returns where the events of a conversation may be found, oldest
// first: those that name it, and the one whose id it is.
func (db *DB) correlated(ctx context.Context, id string) (seqs []uint64, err error) {
	named, own := hashCorrelation([]byte(id)), hashID([]byte(id))
	namedPlaces, ownPlaces := db.places(named), db.places(own)
	err = db.view(ctx, func(r *snapshot) error {
		seqs = append(r.seqs(namedPlaces, named), r.seqs(ownPlaces, own)...)
		return nil
	})
	slices.Sort(seqs)
	return slices.Compact(seqs), err
}

// rest returns the seqs that a page continues with, in its order.
func rest(seqs []uint64, p event.Page) []uint64 {
	if !p.OldestFirst {
		slices.Reverse(seqs)
	}
	if p.After == 0 {
		return seqs
	}
	i := slices.IndexFunc(seqs, func(seq uint64) bool {
		return p.OldestFirst && seq > p.After || !p.OldestFirst && seq < p.After
	})
	if i < 0 {
		return nil
	}
	return seqs[i:]
}

// Counts returns the number of events by table and status: of each, be it 0.
func (db *DB) Counts() event.Counts {
	c := event.Counts{}
	for _, t := range event.Tables {
		c[t] = map[event.Status]int{}
		for _, s := range event.Statuses {
			n := 0
			for _, seg := range db.segmentList() {
				n += seg.seen.Load().of(t, s)
			}
			c[t][s] = n
		}
	}
	return c
}

// oldest returns when the oldest event with the given status was created; zero
// for none. What is parked has an index; of the others a segment that has any
// is looked through.
func (r *snapshot) oldest(status event.Status) time.Time {
	if status.DeadLetter() {
		return r.oldestParked(status)
	}
	for _, seg := range r.db.segmentList() {
		if seg.seen.Load().of(0, status) == 0 {
			continue
		}
		b, err := r.segment(seg)
		if err != nil {
			continue
		}
		if t := b.oldest(status); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func (r *snapshot) oldestParked(status event.Status) time.Time {
	c := r.tx.Bucket(bucketParked).Cursor()
	for k, _ := c.Seek(parkedKey(status, 0)); len(k) == 9 && event.Status(k[0]) == status; k, _ = c.Next() {
		seq := binary.BigEndian.Uint64(k[1:])
		b, err := r.of(seq)
		if err != nil {
			continue
		}
		if s, err := b.state(seq, r.db.names); err == nil {
			return s.created
		}
	}
	return time.Time{}
}

// oldest returns when the first event of a segment with a status was created.
func (b *segmentBuckets) oldest(status event.Status) time.Time {
	c := b.states.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if s, err := stateStatus(v); err == nil && s == status {
			return fromMicros(binary.LittleEndian.Uint64(v[stateHeader:]))
		}
	}
	return time.Time{}
}
