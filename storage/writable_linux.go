package storage

import (
	"errors"
	"os"
	"syscall"
)

// readOnly reports whether the file system of a file that is open for writing has
// become read-only, as one does whose disk has failed. Its flags need not say so;
// but it then refuses to note that the file was changed, which costs nothing
// beside a commit that changes it.
func readOnly(f *os.File) bool {
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_UTIMENSAT, f.Fd(), 0, 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return errors.Is(errno, syscall.EROFS)
		}
	}
}
