//go:build !linux

package storage

import "os"

func readOnly(*os.File) bool { return false }
