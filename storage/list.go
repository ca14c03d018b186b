package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

const (
	// slice is how many records a query looks at in one read transaction: a scan
	// of the whole history must not keep old pages from being reused.
	slice = 5000
	// queryTime is how long a page is looked for. What is not found by then is
	// looked for on the next one, so that an answer never waits for a walk through
	// the whole history.
	queryTime = 25 * time.Millisecond
	// clockRows is how many records are looked at between two looks at the clock.
	clockRows = 256
)

// listing is one page on its way. It looks at events in the order of the page,
// passing over the segments that hold none of them.
type listing struct {
	db    *DB
	probe *probe
	page  event.Page
	until time.Time // when it has looked for long enough
	found []event.Record
	at    uint64 // all up to here has been looked at
	rows  int    // records looked at
	late  bool   // the time is up
}

// List returns the records a filter selects, newest first unless the page says
// otherwise, without timelines. next continues behind what was looked at; 0 says
// there are no more. A page may have fewer records than asked for, and none at
// all, and still have a next: looking for them took too long for one page.
func (db *DB) List(ctx context.Context, f event.Filter, p event.Page) (list []event.Record, next uint64, err error) {
	if !f.Unanswered.IsZero() {
		return db.listAwaiting(ctx, f, p)
	}
	l := db.newListing(f, p)
	if err := l.run(ctx); err != nil {
		return nil, 0, err
	}
	list, next = l.result()
	return list, next, nil
}

func (db *DB) newListing(f event.Filter, p event.Page) *listing {
	p.Limit = max(p.Limit, 1)
	return &listing{db: db, probe: newProbe(db, &f), page: p, until: time.Now().Add(db.options.queryTime)}
}

func (l *listing) run(ctx context.Context) error {
	if err := l.db.show(ctx); err != nil { // before it looks which segments hold anything
		return err
	}
	if l.probe.f.CorrelationID != "" {
		return l.conversation(ctx)
	}
	return l.history(ctx)
}

// result returns the page and where the next one begins.
func (l *listing) result() (list []event.Record, next uint64) {
	switch {
	case l.full():
		list = l.found[:l.page.Limit]
		return list, list[len(list)-1].Seq
	case l.late:
		return l.found, l.at
	}
	return l.found, 0
}

// full reports whether there is a page and one more, which tells that there is
// a next.
func (l *listing) full() bool { return len(l.found) > l.page.Limit }

func (l *listing) done() bool { return l.full() || l.late }

// history looks through the segments.
func (l *listing) history(ctx context.Context) error {
	segments := l.db.segmentList()
	for i := 0; i < len(segments) && !l.done(); i++ {
		s := segments[i]
		if !l.page.OldestFirst {
			s = segments[len(segments)-1-i]
		}
		if !l.reaches(s) || !l.probe.mayHold(s) {
			continue
		}
		if err := l.segment(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// reaches reports whether a segment has events that the page is about.
func (l *listing) reaches(s *segment) bool {
	low, high := l.span(s)
	return low < high
}

// span returns which of a segment's events the page is about, half open.
func (l *listing) span(s *segment) (low, high uint64) {
	p := &l.page
	low, high = s.first, s.first+uint64(s.seen.Load().events)
	if p.Last != 0 {
		high = min(high, p.Last+1)
	}
	if p.After != 0 && p.OldestFirst {
		low = max(low, p.After+1)
	} else if p.After != 0 {
		high = min(high, p.After)
	}
	return low, high
}

// segment looks through a segment in read transactions of bounded length.
func (l *listing) segment(ctx context.Context, s *segment) error {
	low, high := l.span(s)
	for low < high && !l.done() {
		from, to := low, min(high, low+slice)
		if !l.page.OldestFirst {
			from, to = max(low, high-min(high, slice)), high
		}
		if err := l.db.view(ctx, func(r *snapshot) error { return l.window(r, s, from, to) }); err != nil {
			return err
		}
		if l.done() {
			return nil
		}
		if l.page.OldestFirst {
			low, l.at = to, to-1
		} else {
			high, l.at = from, from
		}
		l.late = time.Now().After(l.until)
	}
	return nil
}

// window looks at some events of a segment: at those alone that the index of
// what is parked names, where the filter is about these.
func (l *listing) window(r *snapshot, s *segment, from, to uint64) error {
	b, err := r.segment(s)
	if errors.Is(err, event.ErrNotFound) {
		return nil // gone since the list of segments was taken
	}
	if err != nil {
		return err
	}
	x := &scanner{snapshot: r, b: b}
	if l.probe.parked() {
		seqs := r.parkedBetween(l.probe.f, from, to)
		if !l.page.OldestFirst {
			slices.Reverse(seqs)
		}
		for i := 0; i < len(seqs) && l.look(x, seqs[i]); i++ {
		}
		return nil
	}
	if l.page.OldestFirst {
		for seq := from; seq < to && l.look(x, seq); seq++ {
		}
		return nil
	}
	for seq := to; seq > from && l.look(x, seq-1); seq-- {
	}
	return nil
}

// look looks at one event. It returns false when the page is done.
func (l *listing) look(x *scanner, seq uint64) bool {
	if rec, ok := x.match(l.probe, seq); ok {
		l.found = append(l.found, rec)
	}
	l.at = seq
	if l.rows++; l.rows%clockRows == 0 {
		l.late = time.Now().After(l.until)
	}
	return !l.done()
}

// conversation lists one conversation: through the index of ids.
func (l *listing) conversation(ctx context.Context) error {
	seqs, err := l.db.correlated(ctx, l.probe.f.CorrelationID)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(rest(seqs, &l.page), slice) {
		err := l.db.view(ctx, func(r *snapshot) error {
			x := &scanner{snapshot: r}
			for i := 0; i < len(part) && !l.done(); i++ {
				b, err := r.of(part[i])
				if err != nil {
					continue // stored after the transaction began
				}
				if x.b != b {
					x = &scanner{snapshot: r, b: b}
				}
				l.look(x, part[i])
			}
			return nil
		})
		if err != nil || l.done() {
			return err
		}
	}
	return nil
}

// rest returns the seqs that a page is about, in its order.
func rest(seqs []uint64, p *event.Page) []uint64 {
	if !p.OldestFirst {
		slices.Reverse(seqs)
	}
	return slices.DeleteFunc(seqs, func(seq uint64) bool {
		behind := p.After == 0 || p.OldestFirst && seq > p.After || !p.OldestFirst && seq < p.After
		return !behind || p.Last != 0 && seq > p.Last
	})
}
