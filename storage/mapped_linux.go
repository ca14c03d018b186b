package storage

import (
	"syscall"
	"time"
)

// releaseEvery is how often the mapping of the file is let go of while it is used.
const releaseEvery = 100 * time.Millisecond

// release lets go of the pages of the file that were looked at, which stay in
// the page cache: reading one again costs a fault. Otherwise they would count as
// memory of this process until the machine runs short of it, and someone who
// watches would see it grow as the file does. Who calls it keeps bbolt from
// mapping the file anew meanwhile: the writer between two commits, a reader in
// its transaction.
func (db *DB) release(used int64) {
	last, now := db.released.Load(), time.Now().UnixNano()
	if now-last < int64(releaseEvery) || !db.released.CompareAndSwap(last, now) {
		return
	}
	// An error changes nothing but what is seen.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, db.bolt.Info().Data, uintptr(used), syscall.MADV_DONTNEED)
}
