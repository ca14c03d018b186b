//go:build !linux

package storage

import "os"

// allocate makes sure that the bytes of a file up to an offset are there.
func allocate(f *os.File, _, to int64) error { return appendZeros(f, to) }
