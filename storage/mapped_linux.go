package storage

import "syscall"

// releaseStep is how much the file grows before its mapping is let go of.
const releaseStep = 16 << 20

// release lets go of the pages of the file that were looked at, which stay in
// the page cache: reading one again costs a fault. Otherwise they would count as
// memory of this process until the machine runs short of it, and someone who
// watches would see it grow as the file does. The writer calls it: no one else
// maps the file anew.
func (db *DB) release(used int64) {
	if used < db.released+releaseStep {
		return
	}
	db.released = used
	// An error changes nothing but what is seen.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, db.bolt.Info().Data, uintptr(used), syscall.MADV_DONTNEED)
}
