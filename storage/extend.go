package storage

import (
	"os"
	"time"
)

// The file is extended ahead of need with zeros that are on disk already.
// Otherwise nearly every commit would be the first to write some of its pages,
// and its sync would wait for the file system's journal to note where they lie:
// that takes a quarter longer, more beside others who write to the same disk.
const (
	minAhead    = 1 << 20  // of an empty store
	maxAhead    = 16 << 20 // of a large one
	aheadShare  = 16       // of those between: a part of what is in use
	extendPiece = 128 << 10
	// burst is how much the commits of many events grow the file by, on average, to whom
	// a longer sync is nothing: zeros would then be bytes written for no one.
	burst = 32 << 10
	// growthCommits is about how many of the last commits the average is of, as those
	// of outcomes, between those of events, hardly grow the file.
	growthCommits = 8
	// extendPause follows a failure, as of a full disk.
	extendPause = time.Second
)

// ahead returns how much of the file shall lie ready behind what is in use.
func ahead(used int64) int64 { return min(max(used/aheadShare, minAhead), maxAhead) }

// use notes how much of the file was in use before the last commit, and has it
// extended when little is left behind. The writer calls it.
func (db *DB) use(used int64) {
	grown := used - db.used.Swap(used)
	db.grown.Add(grown)
	db.growth += (grown - db.growth) / growthCommits
	if db.growth < burst && db.end.Load()-used < ahead(used)/2 {
		select {
		case db.extendC <- struct{}{}:
		default:
		}
	}
}

// extend keeps the file extended until the writer has ended.
func (db *DB) extend() {
	zeros := make([]byte, extendPiece)
	for {
		select {
		case <-db.written:
			return
		case <-db.extendC:
		}
		if f := db.fullness.Load(); f.disk || f.readOnly {
			db.heal()
		}
		err := db.extendOnce(zeros)
		if err == nil {
			continue
		}
		db.log.Debug().Err(err).Msg("the store is not extended ahead of need")
		select {
		case <-db.written:
			return
		case <-time.After(extendPause):
		}
	}
}

// heal waits until the disk is full no more, and can be written to.
func (db *DB) heal() {
	for f := db.fullness.Load(); f.disk || f.readOnly; f = db.fullness.Load() {
		select {
		case <-db.written:
			return
		case <-time.After(spacePause):
		}
		if err := db.feed(); err != nil {
			return
		}
	}
}

// extendOnce extends the file by as much as is missing. Each piece is on disk
// before the next is written: a commit syncs whatever of the file is not.
func (db *DB) extendOnce(zeros []byte) error {
	for {
		select {
		case <-db.closing:
			return nil
		default:
		}
		grown, err := db.extendBy(zeros)
		if err != nil || !grown {
			return err
		}
		if err := db.extender.Sync(); err != nil {
			return err
		}
	}
}

// extendBy writes a piece behind what is in use and what lies ready, if that is
// too little. No commit runs meanwhile: what lies behind what is in use is
// nobody's.
func (db *DB) extendBy(zeros []byte) (grown bool, err error) {
	db.extending.Lock()
	defer db.extending.Unlock()
	high, err := db.highWater()
	if err != nil {
		return false, err
	}
	start := max(db.end.Load(), high)
	if start-high >= ahead(high) {
		return false, nil
	}
	if _, err = db.extender.WriteAt(zeros, start); err != nil {
		return false, err
	}
	db.end.Store(start + int64(len(zeros)))
	return true, nil
}

// appendZeros makes a file as long as it is to be.
func appendZeros(f *os.File, to int64) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, extendPiece)
	for at := fi.Size(); at < to; {
		n, err := f.WriteAt(zeros[:min(to-at, extendPiece)], at)
		if at += int64(n); err != nil {
			return err
		}
	}
	return nil
}
