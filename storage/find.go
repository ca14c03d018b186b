package storage

import (
	"context"
	"errors"

	"github.com/eventd-io/eventd/event"
)

// place is a segment where an id may be found, with the index in memory if it
// had one when it was looked for.
type place struct {
	*segment
	open *openIndex
}

// places returns the segments that may hold a hash, oldest first, without
// reading the file.
//
// A reader asks before it begins its transaction: see [DB.viewPlaces]. A segment without a map has
// its index in every transaction that begins afterwards; one whose map goes
// away while the transaction lasts is read through the map that is kept here.
func (db *DB) places(hash uint64) (list []place) {
	var last *sieve
	var holding uint64
	for _, s := range db.segmentList() {
		if open := s.open.Load(); open != nil {
			if open.holds(hash) {
				list = append(list, place{s, open})
			}
			continue
		}
		if c := s.column.Load(); c != nil {
			if c.sieve != last {
				last, holding = c.sieve, c.sieve.holding(hash)
			}
			if holding&c.bit == 0 {
				continue
			}
		}
		if s.ids.Load().Contains(hash) {
			list = append(list, place{s, nil})
		}
	}
	return list
}

// viewPlaces is [DB.view] with the places of hashes, in which all that is durable is found:
// an event that was journaled beside a commit has no place before its own.
func (db *DB) viewPlaces(ctx context.Context, hashes []uint64, f func(r *snapshot, places [][]place) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.show(ctx); err != nil {
		return err
	}
	places := make([][]place, len(hashes))
	for i, hash := range hashes {
		places[i] = db.places(hash)
	}
	return db.viewCommitted(func(r *snapshot) error { return f(r, places) })
}

// lookup appends the seqs of the events whose id has the given hash, oldest
// first. An index that is damaged is made anew in memory.
func (db *DB) lookup(b *segmentBuckets, open *openIndex, hash uint64, to []uint64) []uint64 {
	var offsets []uint32
	if open == nil {
		var err error
		if offsets, err = lookupSealed(b.root, hash, nil); err != nil {
			db.log.Error().Err(err).Uint64("segment", b.first).Msg("index of a segment is damaged and kept in memory instead")
			db.rebuildIndex(b)
			open = b.open.Load()
		}
	}
	if open != nil {
		offsets = open.lookup(hash, nil)
	}
	for _, o := range offsets {
		to = append(to, b.first+uint64(o))
	}
	return to
}

// seqs returns where an id with the given hash may be found, newest first. The
// places are those of before the transaction.
func (r *snapshot) seqs(places []place, hash uint64) (seqs []uint64) {
	for i := len(places) - 1; i >= 0; i-- {
		b, err := r.segment(places[i].segment)
		if errors.Is(err, event.ErrNotFound) {
			continue // not committed yet
		}
		if err != nil {
			r.db.log.Error().Err(err).Msg("a segment cannot be read: its events are not found by id")
			continue
		}
		found := r.db.lookup(b, places[i].open, hash, nil)
		for j := len(found) - 1; j >= 0; j-- {
			seqs = append(seqs, found[j])
		}
	}
	return seqs
}

// duplicateOf returns the seq of the same event stored before, 0 for none: the
// same place in a stream however long ago, or the same key within the window.
func (t *transaction) duplicateOf(e *event.Event, hash uint64) uint64 {
	t.db.seek.Do(func() { close(t.db.sought) })
	var seqs []uint64
	for _, p := range t.db.places(hash) {
		b, err := t.segment(p.segment)
		if err != nil {
			continue // damaged; new events must not wait for it
		}
		seqs = t.db.lookup(b, p.open, hash, seqs[:0])
		for _, seq := range seqs {
			if first, err := t.event(b, seq); err == nil && t.same(first, e) {
				return seq
			}
		}
	}
	return 0
}

func (t *transaction) same(first, e *event.Event) bool {
	if first.Key() != e.Key() {
		return false
	}
	if !e.Position.IsZero() && first.Position.Equal(e.Position) {
		return true
	}
	window := t.db.options.DedupeWindow
	return window > 0 && e.CreatedAt.Sub(first.CreatedAt) < window
}
