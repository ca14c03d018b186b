package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Bounds of how often retention looks, and for how much of the outbox it keeps
// in mind which events it refers to.
const (
	minLook    = time.Second
	maxLook    = time.Minute
	maxPending = 100_000
	// maxCarried is how many documents of working data one transaction takes out of
	// a segment that goes.
	maxCarried = 100
	// maxCarriedBytes bounds their bytes, beyond the first: on a full disk there is
	// groupBytes for them.
	maxCarriedBytes = 64 << 10
)

// Deleting makes free pages, and bbolt writes the list of them, eight bytes each,
// with every commit. So what was dropped is deleted when pages are needed: when less
// than fewFreeBytes are free, until enoughFreeBytes are; and when the file grows by
// outgrown all the same, as those that are free are not enough in a row.
const (
	fewFreeBytes    = 4 << 20
	enoughFreeBytes = 8 << 20
	outgrown        = 1 << 20
)

// scarce reports whether pages of what was dropped are needed.
func (db *DB) scarce() bool {
	return db.droppedBytes.Load() > 0 &&
		(db.freeBytes.Load() < fewFreeBytes || db.grown.Load() > outgrown || db.Full() != "")
}

// askForPages has some of what was dropped deleted if pages are scarce.
func (db *DB) askForPages() {
	if !db.scarce() {
		return
	}
	select {
	case db.scarceC <- struct{}{}:
	default:
	}
}

// keeper is the worker that removes what is over its time.
type keeper struct {
	db        *DB
	next      map[uint64]time.Time // by segment: when to look at it again
	damaged   map[uint64]bool      // segments that cannot be looked at
	pending   pending
	removed   removed
	relieving bool     // only until the store is small enough
	passed    []string // dropped segments that cannot be deleted
}

// retain removes what is over its time until the store is closed.
func (db *DB) retain() {
	k := &keeper{db: db, next: map[uint64]time.Time{}, damaged: map[uint64]bool{}}
	k.round(k.purge)
	p := db.options.policy()
	look := time.NewTicker(min(max(p.shortest()/8, minLook), maxLook))
	defer look.Stop()
	if p.shortest() == 0 {
		look.Stop()
	}
	for {
		select {
		case <-db.closing:
			return
		case <-look.C:
			k.round(func() error { return k.look(p) })
		case <-db.scarceC:
			k.round(k.purge)
		case <-db.crowded:
			k.round(k.relieve)
			if !db.pause(minLook) {
				return
			}
		}
	}
}

func (db *DB) ending() bool {
	select {
	case <-db.closing:
		return true
	default:
		return false
	}
}

// pause waits, and returns false when the store is closed meanwhile.
func (db *DB) pause(d time.Duration) bool {
	select {
	case <-db.closing:
		return false
	case <-time.After(d):
		return true
	}
}

// How long work that nobody waits for rests after a piece of it, in times of what the
// piece took: others are to find a processor free.
const (
	restShare = 4
	maxRest   = 20 * time.Millisecond
)

// rest pauses after a piece of work that began at a given moment; false when the store is
// closed meanwhile.
func (db *DB) rest(began time.Time) bool {
	return db.pause(min(restShare*time.Since(began), maxRest))
}

// round does one round of work and says what came of it.
func (k *keeper) round(work func() error) {
	started := time.Now()
	k.removed = removed{}
	err := work()
	if r := k.removed; r != (removed{}) {
		k.db.log.Info().Int("events", r.events).Int("payloads", r.payloads).Int("segments", r.segments).
			Dur("took", time.Since(started)).Msg("removed what was over its time")
	}
	if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrFull) {
		k.db.log.Error().Err(err).Msg("retention cannot go on; trying again later")
	}
}

// look goes through the segments whose time has come.
func (k *keeper) look(p *policy) error {
	if ok, err := k.protect(); !ok {
		return err
	}
	now := k.db.now()
	if err := k.roll(now); err != nil {
		return err
	}
	for _, s := range k.db.segmentList() {
		if k.db.ending() {
			return ErrClosed
		}
		if seen := s.seen.Load(); now.Before(k.next[s.first]) || seen.events == 0 || p.young(seen, now) {
			continue
		}
		next, err := k.segment(s, p, now)
		if errors.Is(err, ErrFull) {
			continue // others may go without writing anything first
		}
		if err != nil {
			return err
		}
		if latest := now.Add(p.shortest()); next.IsZero() || next.After(latest) {
			next = latest // what ends meanwhile, or again
		}
		k.next[s.first] = next
		if err := k.purge(); err != nil {
			return err
		}
	}
	return k.purge()
}

// relieve removes the oldest COMPLETED events of a store that is too large.
func (k *keeper) relieve() error {
	if ok, err := k.protect(); !ok {
		return err
	}
	k.relieving = true
	defer func() { k.relieving = false }()
	for _, s := range k.db.segmentList() {
		if k.db.relieved() {
			break
		}
		if s.seen.Load().of(0, event.Completed) == 0 {
			continue
		}
		if _, err := k.segment(s, earlyPolicy(), k.db.now()); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
		if err := k.purge(); err != nil {
			return err
		}
	}
	if k.removed.events > 0 {
		k.db.log.Warn().Int("events", k.removed.events).Int64("max_size", k.db.options.MaxSize).
			Msg("the store is nearly as large as it may be: its oldest COMPLETED events go before their time")
	}
	return nil
}

// protect finds out which events the outbox refers to. While there are too many
// of them nothing is removed.
func (k *keeper) protect() (ok bool, err error) {
	k.pending = pending{seqs: map[uint64]struct{}{}}
	for more := true; more && len(k.pending.seqs) < maxPending; {
		err := k.db.view(context.Background(), func(r *snapshot) error {
			more = k.pending.look(r.tx.Bucket(bucketOutbox), slice)
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return len(k.pending.seqs) < maxPending, nil
}

// roll begins a new segment when the last one is old, so that it can be dropped
// though nothing new arrives.
func (k *keeper) roll(now time.Time) error {
	last := k.db.lastSegment()
	if last == nil || last.seen.Load().events == 0 || now.Sub(fromMicros(last.seen.Load().created)) <= k.db.options.age {
		return nil
	}
	return k.do(func(t *transaction) error {
		if last != t.db.lastSegment() || !last.full(t.now, &t.db.options) {
			return nil
		}
		_, err := t.newSegment(t.db.nextSeq, t.now)
		return err
	})
}

func (k *keeper) do(f func(*transaction) error) error {
	return k.db.do(context.Background(), f)
}

// segment removes from a segment what is over its time, or drops it. It returns
// when to look at it again, zero for whenever.
func (k *keeper) segment(s *segment, p *policy, now time.Time) (next time.Time, err error) {
	if k.damaged[s.first] {
		return next, nil
	}
	v, err := k.db.survey(s, p, now)
	switch {
	case errors.Is(err, ErrCorrupt):
		k.giveUp(s, err)
		return next, nil
	case err != nil:
		return next, err
	case v.whole && s != k.db.lastSegment() && s.open.Load() == nil && v.dead <= maxParked && !k.referred(v):
		return now, k.drop(v)
	case v.whole && !p.prompt && (v.dead > maxParked || k.referred(v)):
		at := *p
		at.prompt = true // one by one: for the index of what is parked, and for what the outbox refers to
		return k.segment(s, &at, now)
	}
	if err := k.thin(v); err != nil {
		return next, err
	}
	return v.next, k.reindex(v)
}

// referred reports whether something in the outbox refers to an event of a segment.
func (k *keeper) referred(v *survey) bool {
	return k.pending.within(v.first, v.first+uint64(len(v.events)))
}

// giveUp leaves a damaged segment as it is until the next start.
func (k *keeper) giveUp(s *segment, err error) {
	k.damaged[s.first] = true
	k.db.log.Error().Err(err).Uint64("segment", s.first).Msg("a damaged segment is kept whatever its age")
}

func (k *keeper) drop(v *survey) error {
	for more := true; more; {
		weight := 0
		err := k.db.view(context.Background(), func(r *snapshot) (err error) { weight, err = r.carried(v.segment); return err })
		if err != nil {
			return err
		}
		release := func(t *transaction) (err error) { more, err = t.release(v.segment, maxCarried); return err }
		if err := k.db.try(context.Background(), weight, release); err != nil {
			return err
		}
	}
	var size int64
	err := k.db.view(context.Background(), func(r *snapshot) (err error) { size, err = r.sizeOfSegment(v.segment); return err })
	if errors.Is(err, ErrCorrupt) {
		k.giveUp(v.segment, err)
		return nil
	}
	if err != nil {
		return err
	}
	var ok bool
	err = k.do(func(t *transaction) (err error) { ok, err = t.drop(v, &k.pending, size); return err })
	if err == nil && ok {
		k.removed.add(removed{events: v.rows, segments: 1})
		delete(k.next, v.first)
	}
	return err
}

// thin removes chunk by chunk.
func (k *keeper) thin(v *survey) (full error) {
	for i, work := range v.work {
		if !work || k.relieving && k.db.relieved() {
			continue
		}
		from := v.first + uint64(i*chunk)                       // not negative
		to := v.first + uint64(min((i+1)*chunk, len(v.events))) // not negative
		err := k.thinBetween(v, from, to)
		switch {
		case errors.Is(err, ErrCorrupt):
			k.giveUp(v.segment, err)
			return nil
		case errors.Is(err, ErrFull):
			full = err // others may need less
		case err != nil:
			return err
		}
	}
	return full
}

// thinLeast is the least number of events that are removed in one operation when the
// disk has no room for more: about those of a block.
const thinLeast = 8

func (k *keeper) thinBetween(v *survey, from, to uint64) error {
	weight := 0
	err := k.db.view(context.Background(), func(r *snapshot) (err error) { weight, err = v.touch(r, from, to); return err })
	if err != nil {
		return err
	}
	var r removed
	thin := func(t *transaction) (err error) { r, err = t.thin(v, &k.pending, from, to); return err }
	err = k.db.try(context.Background(), weight, thin)
	if errors.Is(err, ErrFull) && to-from > thinLeast {
		middle := (from + to) / 2
		return errors.Join(k.thinBetween(v, from, middle), k.thinBetween(v, middle, to))
	}
	if err != nil {
		return err
	}
	k.removed.add(r)
	v.rows -= r.events
	return nil
}

// filterShare is about how many slots of a filter there are for an event, which
// has an id and often a correlation id.
const filterShare = 2

// reindex makes the index of a sealed segment anew when most of it stands for
// events that are gone.
func (k *keeper) reindex(v *survey) error {
	filter := v.ids.Load()
	if filter == nil || v.open.Load() != nil || v.rows == 0 || filter.slots() < 2*filterShare*v.rows+minFilter {
		return nil
	}
	x := newOpenIndex()
	err := k.db.view(context.Background(), func(r *snapshot) error {
		b, err := r.segment(v.segment)
		if err != nil {
			return err
		}
		return k.db.indexHeads(b, x)
	})
	if err != nil {
		return err
	}
	index, filter, err := seal(x.sorted())
	if err != nil {
		return err
	}
	put := func(t *transaction) error { return t.putIndex(v.segment, index) }
	if err := k.db.try(context.Background(), index.size(), put); err != nil {
		return err
	}
	v.ids.Store(filter)
	return nil
}

// minFilter are the slots of a filter that is not worth making anew.
const minFilter = 4 << 10

// purge deletes of what was dropped as much as is needed.
func (k *keeper) purge() error {
	for k.db.scarce() || k.db.freeBytes.Load() < enoughFreeBytes {
		var p *piece
		err := k.db.view(context.Background(), func(r *snapshot) error { return r.nextPiece(k.passed, &p) })
		if errors.Is(err, ErrCorrupt) && p != nil {
			k.db.log.Error().Err(err).Msg("a damaged segment cannot be deleted; it takes up space")
			k.passed = append(k.passed, string(p.segment))
			k.db.droppedBytes.Add(-p.bytes) // it will not be free before a compaction
			continue
		}
		if err != nil || p == nil {
			return err
		}
		k.db.grown.Store(0)
		if err := k.do(func(t *transaction) error { return t.purge(p) }); err != nil {
			return err
		}
	}
	return nil
}

// removeSegment is called by the writer.
func (db *DB) removeSegment(s *segment) {
	list := slices.DeleteFunc(slices.Clone(db.segmentList()), func(x *segment) bool { return x == s })
	db.segments.Store(&list) // readers hold the longer slice
}
