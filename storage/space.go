package storage

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/eventd-io/eventd/event"
)

// ErrFull says that the store takes no new events, as its disk or itself is full. Nothing
// was stored. Steps of events that are there go on, and it heals by itself:
// [DB.Full] says why it is. It is an [event.ErrUnavailable].
var ErrFull error = fullError{}

var errNoRoom = fmt.Errorf("%w: the disk has no room for it", ErrFull)

type fullError struct{}

func (fullError) Error() string { return "the store takes no new events" }
func (fullError) Unwrap() error { return event.ErrUnavailable }

// Shares of MaxSize, in percent, of what is in use. Above crowdedShare the oldest
// COMPLETED events go, until relievedShare; from fullShare on nothing new is taken
// until less than openShare is in use.
const (
	relievedShare = 87
	crowdedShare  = 90
	openShare     = 92
	fullShare     = 95
)

// A commit writes to pages of the file that may never have been written, and one
// that fails for want of space is the end of the process. So the bytes that a
// group may need are made sure of before it begins, and new events leave a
// reserve behind them, from which steps live when the disk is full.
const (
	stepBytes = 1 << 10 // that a step or an event adds beside what is known of it
	// placeBytes is what a step rewrites, where others do not share its pages: one of
	// states, of notes and of an index, though it frees as many.
	placeBytes = 16 << 10
	lineBytes  = 12 << 10  // that a step rewrites of lines of order keys, and of who comes due by it
	placeSeqs  = 32        // events whose states share a page
	groupBytes = 128 << 10 // that any commit may need
	spaceStep  = 1 << 20   // by how much the file grows at most beyond what is needed
	// minReserve to maxReserve is left for steps. Those free as many pages as they
	// take, so that it is needed but for what one group rewrites.
	minReserve   = 1 << 20
	maxReserve   = 8 << 20
	reserveShare = 64 // of those between: a part of what is in use
	// spacePause is between two tries to get space on a full disk.
	spacePause = time.Second
	// hurriedPause is that when nothing is to wait any more.
	hurriedPause = spacePause / 20
)

func reserve(high int64) int64 { return min(max(high/reserveShare, minReserve), maxReserve) }

// ready returns how many bytes behind what is in use are there.
func (db *DB) ready(high int64) int64 {
	db.extending.Lock()
	defer db.extending.Unlock()
	return db.secured - high
}

// secure makes sure that so many bytes behind what is in use are there.
func (db *DB) secure(high, need int64) bool {
	db.extending.Lock()
	defer db.extending.Unlock()
	if db.secured-high >= need {
		return true
	}
	step := min(max(high/reserveShare, groupBytes), spaceStep)
	err := db.allocate(high + need + step)
	if noSpace(err) {
		err = db.allocate(high + need)
	}
	if err == nil {
		return true
	}
	if !noSpace(err) {
		db.log.Error().Err(err).Msg("space for the store cannot be set aside; a full disk will end the process")
		db.secured = 1 << 62
		return true
	}
	return false
}

// allocate makes sure of the file up to an offset. The caller holds extending.
func (db *DB) allocate(to int64) error {
	if err := allocate(db.file, db.secured, to); err != nil {
		return err
	}
	db.secured = to
	return nil
}

// noSpace reports whether an error says that there is no room for a file to
// grow: on the disk, in a quota, or in a limit of the process.
func noSpace(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// starve notes that the disk is full. Only [DB.feed] ends it.
func (db *DB) starve() {
	db.setFull(func(f *fullness) { f.disk = true })
	db.askForPages()
	select {
	case db.extendC <- struct{}{}: // who looks whether it still is
	default:
	}
}

// locked notes that nothing can be written. Only [DB.feed] ends it.
func (db *DB) locked() {
	db.setFull(func(f *fullness) { f.readOnly = true })
	select {
	case db.extendC <- struct{}{}:
	default:
	}
}

// feed ends a full disk, or one that is read-only, when there is enough again for what
// comes, what waits and a reserve.
func (db *DB) feed() error {
	if db.options.readOnly(db.file) {
		return nil
	}
	db.setFull(func(f *fullness) { f.readOnly = false })
	high, err := db.highWater()
	if err == nil && db.ample(high) {
		db.setFull(func(f *fullness) { f.disk = false })
	}
	return err
}

// ample reports whether there is space for new events and for what waits: see roomy.
func (db *DB) ample(high int64) bool {
	wanted, left := db.wanted.Load(), reserve(high)
	if db.secure(high, max(2*left+groupBytes, wanted+left)) {
		return true
	}
	if db.reusable.Load() > max(2*left, 8*wanted) && wanted < left && db.secure(high, left) {
		return true
	}
	return (&holes{db: db}).lodges(max(2*groupBytes, wanted), left/4)
}

// fullness is why a store takes no new events.
type fullness struct{ disk, size, readOnly bool }

func (f fullness) String() string {
	switch {
	case f.readOnly:
		return "the file system is read-only"
	case f.disk:
		return "the disk is full"
	case f.size:
		return "store.max_size is nearly reached"
	}
	return ""
}

func (db *DB) setFull(change func(*fullness)) {
	db.fullMu.Lock()
	defer db.fullMu.Unlock()
	now := *db.fullness.Load()
	change(&now)
	if now == *db.fullness.Load() {
		return
	}
	db.fullness.Store(&now)
	if now == (fullness{}) {
		db.log.Info().Msg("the store takes new events again")
	} else {
		line := db.log.Error().Str("problem", now.String())
		if now.readOnly {
			line.Msg("nothing can be stored; it goes on when it can")
		} else {
			line.Msg("the store takes no new events; those it has go on")
		}
	}
	select {
	case db.fullC <- struct{}{}:
	default:
	}
}

// Full says why the store takes no new events; "" when it does.
func (db *DB) Full() string { return db.fullness.Load().String() }

// FullChanged receives a value when [DB.Full] may have changed.
func (db *DB) FullChanged() <-chan struct{} { return db.fullC }

// highWater returns how much of the file is in use, free pages inside included.
func (db *DB) highWater() (int64, error) {
	tx, err := db.bolt.Begin(false)
	if err != nil {
		return 0, err
	}
	high := tx.Size()
	return high, tx.Rollback()
}

// measure looks how large the store is, and what follows from that. The writer
// calls it, and Open.
func (db *DB) measure() {
	stats := db.bolt.Stats()
	db.freeBytes.Store(int64(stats.FreePageN+stats.PendingPageN) * int64(db.pageSize))
	db.reusable.Store(int64(stats.FreePageN) * int64(db.pageSize))
	db.askForPages()
	if db.options.MaxSize == 0 {
		return
	}
	high, err := db.highWater()
	if err != nil {
		return
	}
	db.occupied.Store(high - db.free())
	if full := db.fullness.Load().size; !full && db.above(fullShare) || full && !db.above(openShare) {
		db.setFull(func(f *fullness) { f.size = !full })
	}
	if db.isCrowded() {
		select {
		case db.crowded <- struct{}{}:
		default:
		}
	}
}

// measureFirst is measure before the first commit: bbolt counts its free pages
// when a transaction that may write has ended.
func (db *DB) measureFirst() error {
	tx, err := db.bolt.Begin(true)
	if err != nil {
		return fmt.Errorf("%w: begin: %w", ErrUnavailable, err)
	}
	db.used.Store(tx.Size())
	if err := tx.Rollback(); err != nil {
		return fmt.Errorf("%w: end: %w", ErrUnavailable, err)
	}
	db.measure()
	return nil
}

// free returns about how many bytes inside the file can be used again, with those of
// what was dropped and is deleted when they are needed.
func (db *DB) free() int64 { return db.freeBytes.Load() + db.droppedBytes.Load() }

// above reports whether more than so many percent of MaxSize are in use.
func (db *DB) above(percent int64) bool {
	limit := db.options.MaxSize
	return limit > 0 && db.occupied.Load() > limit/100*percent
}

func (db *DB) isCrowded() bool { return db.above(crowdedShare) }
func (db *DB) relieved() bool  { return !db.above(relievedShare) }
