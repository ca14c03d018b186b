package main

import "testing"

func TestVacatedMemoryIsZero(t *testing.T) {
	b := make([]byte, 1<<20)
	b[0], b[len(b)-1] = 1, 1
	vacate(b)
	if b[0] != 0 || b[len(b)-1] != 0 {
		t.Error("the memory was not given back")
	}
}
