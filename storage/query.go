package storage

import (
	"context"
	"errors"
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

// Payload returns the bytes an event came with. They are a copy.
func (db *DB) Payload(ctx context.Context, seq uint64) (body []byte, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b, err := r.of(seq)
		if err != nil {
			return err
		}
		p, err := b.payload(seq)
		body = append([]byte{}, p...)
		return err
	})
	return body, err
}

// Payloads returns the payload rows of an event, the one it came with first.
func (db *DB) Payloads(ctx context.Context, seq uint64) (rows []event.Payload, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		b, err := r.of(seq)
		if err != nil {
			return err
		}
		rows, err = readBodies(b, seq)
		return err
	})
	return rows, err
}

// Find returns the events with the given event id, over all tables, newest
// first, with their timelines.
func (db *DB) Find(ctx context.Context, id string) ([]event.Record, error) {
	return db.lookup(ctx, hashID([]byte(id)), func(e *event.Event) bool { return e.ID == id })
}

func (db *DB) lookup(ctx context.Context, hash uint64, same func(*event.Event) bool) (list []event.Record, err error) {
	err = db.view(ctx, func(r *snapshot) error {
		seqs, err := r.seqs(hash)
		if err != nil {
			return err
		}
		for _, seq := range seqs {
			rec, err := r.record(seq)
			if errors.Is(err, event.ErrNotFound) || err == nil && !same(&rec.Event) {
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, rec)
		}
		return nil
	})
	return list, err
}

// seqs returns where an id with the given hash may be found, newest first.
func (r *snapshot) seqs(hash uint64) (seqs []uint64, err error) {
	list := r.db.segmentList()
	for i := len(list) - 1; i >= 0; i-- {
		if !list[i].mayHold(hash) {
			continue
		}
		b, err := r.of(list[i].first)
		if errors.Is(err, event.ErrNotFound) {
			continue // not committed yet
		}
		if err != nil {
			return nil, err
		}
		found, err := b.lookup(hash, nil)
		if err != nil {
			return nil, err
		}
		for j := len(found) - 1; j >= 0; j-- {
			seqs = append(seqs, found[j])
		}
	}
	return seqs, nil
}

// record returns an event with its timeline. One whose state is damaged is
// returned all the same, as ERROR `quarantined`.
func (r *snapshot) record(seq uint64) (rec event.Record, err error) {
	b, err := r.of(seq)
	if err != nil {
		return rec, err
	}
	e, err := b.event(seq)
	if err != nil {
		return rec, errors.Join(ErrQuarantined, err)
	}
	s, err := b.state(seq, r.db.names)
	if err == nil {
		err = readNotes(b.root, seq, s, r.db.names)
	}
	if err != nil {
		return event.Record{Event: *e, State: quarantinedState(err)}, nil
	}
	return event.Record{Event: *e, State: s.State}, nil
}

func quarantinedState(err error) event.State {
	return event.State{
		Status: event.Error, Reason: event.Quarantined,
		Timeline: []event.Entry{{Status: event.Error, Reason: event.Quarantined, Detail: err.Error()}},
	}
}

// List returns the records a filter selects, newest first unless the page says
// otherwise, without timelines. next continues behind the last of them; 0 says
// there are no more.
func (db *DB) List(ctx context.Context, f event.Filter, p event.Page) (list []event.Record, next uint64, err error) {
	if f.CorrelationID != "" {
		return db.listCorrelation(ctx, f, p)
	}
	segments := db.segmentList()
	for i := range segments {
		s := segments[i]
		if !p.OldestFirst {
			s = segments[len(segments)-1-i]
		}
		if !mayMatch(s, &f, &p) {
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

// mayMatch reports whether a segment can hold anything the filter selects.
func mayMatch(s *segment, f *event.Filter, p *event.Page) bool {
	info := s.seen.Load()
	if info.of(f.Table, f.Status) == 0 {
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
		err := db.view(ctx, func(r *snapshot) error { return r.scan(from, to, f, p, list) })
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

func (r *snapshot) scan(from, to uint64, f *event.Filter, p *event.Page, list *[]event.Record) error {
	b, err := r.of(from)
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
	raw := b.states.Get(key8(seq))
	if f.Status != 0 {
		if status, err := stateStatus(raw); err == nil && status != f.Status {
			return rec, false
		}
	}
	s, err := decodeState(raw, r.db.names)
	if err != nil {
		s = &state{State: quarantinedState(err)}
	}
	if !selectsState(f, &s.State) || f.Table != 0 && s.table != f.Table {
		return rec, false
	}
	e, err := b.event(seq)
	if err != nil {
		e = &event.Event{Seq: seq, Table: s.table, CreatedAt: s.created}
		s.State = quarantinedState(err)
	}
	s.Timeline = nil
	return event.Record{Event: *e, State: s.State}, selectsEvent(f, e)
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
	err = db.view(ctx, func(r *snapshot) error {
		seqs, err := r.correlated(f.CorrelationID)
		if err != nil {
			return err
		}
		for i := range seqs {
			seq := seqs[i]
			if p.OldestFirst {
				seq = seqs[len(seqs)-1-i]
			}
			if p.After != 0 && (p.OldestFirst && seq <= p.After || !p.OldestFirst && seq >= p.After) {
				continue
			}
			b, err := r.of(seq)
			if err != nil {
				continue
			}
			if rec, ok := r.match(b, seq, &f); ok {
				list = append(list, rec)
			}
			if len(list) > p.Limit {
				return nil
			}
		}
		return nil
	})
	list, next = cut(list, p.Limit)
	return list, next, err
}

// Counts returns the number of events by table and status, all of them.
func (db *DB) Counts() event.Counts {
	c := event.Counts{}
	for _, t := range event.Tables {
		c[t] = map[event.Status]int{}
		for _, s := range event.Statuses {
			for _, seg := range db.segmentList() {
				c[t][s] += seg.seen.Load().of(t, s)
			}
		}
	}
	return c
}

// oldest returns when the oldest event with the given status was created; zero
// for none.
func (r *snapshot) oldest(status event.Status) time.Time {
	for _, seg := range r.db.segmentList() {
		if seg.seen.Load().of(0, status) == 0 {
			continue
		}
		b, err := r.of(seg.first)
		if err != nil {
			return time.Time{}
		}
		c := b.states.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if st, err := stateStatus(v); err != nil || st != status {
				continue
			}
			if s, err := decodeState(v, r.db.names); err == nil {
				return s.created
			}
		}
	}
	return time.Time{}
}
