package storage

import "time"

// The file is extended ahead of need with zeros that are on disk already.
// Otherwise nearly every commit would be the first to write some of its pages,
// and its sync would wait for the file system's journal to note where they lie:
// that takes a quarter longer, more beside others who write to the same disk.
const (
	minAhead    = 1 << 20  // of an empty store
	maxAhead    = 16 << 20 // of a large one
	aheadShare  = 16       // of those between: a part of what is in use
	extendPiece = 128 << 10
	// burst is how much a commit of many events grows the file by, to whom a longer
	// sync is nothing: zeros would then be bytes written for no one.
	burst = 32 << 10
	// extendPause follows a failure, as of a full disk: what does not fit is for
	// a commit to report.
	extendPause = time.Second
)

// ahead returns how much of the file shall lie ready behind what is in use.
func ahead(used int64) int64 { return min(max(used/aheadShare, minAhead), maxAhead) }

// use notes how much of the file was in use before the last commit, and has it
// extended when little is left behind. The writer calls it.
func (db *DB) use(used int64) {
	grown := used - db.used.Swap(used)
	if grown < burst && db.end.Load()-used < ahead(used)/2 {
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

// extendOnce extends the file by as much as is missing. Each piece is on disk
// before the next is written: a commit syncs whatever of the file is not.
func (db *DB) extendOnce(zeros []byte) error {
	for {
		select {
		case <-db.closing:
			return nil
		default:
		}
		size, grown, err := db.extendBy(zeros)
		if err != nil {
			return err
		}
		if !grown {
			db.end.Store(size)
			return nil
		}
		if err := db.extender.Sync(); err != nil {
			return err
		}
	}
}

// extendBy adds a piece to the end of the file if there is too little behind
// what is in use, and returns the file's size before. No commit runs meanwhile: what
// lies behind the end is nobody's.
func (db *DB) extendBy(zeros []byte) (size int64, grown bool, err error) {
	db.extending.Lock()
	defer db.extending.Unlock()
	fi, err := db.extender.Stat()
	if err != nil {
		return 0, false, err
	}
	size = fi.Size()
	if used := db.used.Load(); size-used >= ahead(used) {
		return size, false, nil
	}
	_, err = db.extender.WriteAt(zeros, size)
	return size, true, err
}
