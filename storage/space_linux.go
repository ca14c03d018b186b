package storage

import "syscall"

// freeSpace returns how many bytes can be written to a folder, as far as the
// file system tells.
func freeSpace(dir string) (bytes int64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}
