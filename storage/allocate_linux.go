package storage

import (
	"errors"
	"os"
	"syscall"
)

// allocate makes sure that the bytes of a file between two offsets are there,
// also where it has holes. What is in it stays, and the file grows if need be.
func allocate(f *os.File, from, to int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, from, to-from)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return appendZeros(f, to)
		}
		return err
	}
}
