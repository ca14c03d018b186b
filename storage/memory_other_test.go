//go:build !linux

package storage

// memoryFolder returns a folder in memory, "" if there is none.
func memoryFolder() string { return "" }
