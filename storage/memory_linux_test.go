package storage

import "syscall"

// memoryFolder returns a folder in memory with room for the tests, "" if there
// is none: in a container it is often a small one.
func memoryFolder() string {
	const shared, room = "/dev/shm", 1 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(shared, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return ""
	}
	return shared
}
