//go:build !linux

package storage

import "os"

// syncData makes what was written to a file outlast a loss of power.
func syncData(f *os.File) error { return f.Sync() }
