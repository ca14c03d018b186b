package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemoryFitsTheContainer(t *testing.T) {
	was := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(was)
	for _, c := range []struct {
		about, gogc string
		limit       int64
		floor       int
	}{
		{"no limit", "", math.MaxInt64, heapFloor / 2},
		{"a small container", "", 64 << 20, 0},
		{"someone has decided", "50", math.MaxInt64, 0},
	} {
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", "set") // the limit in force is kept
		debug.SetMemoryLimit(c.limit)
		if got := len(fitMemory()); got != c.floor || debug.SetMemoryLimit(-1) != c.limit {
			t.Errorf("%s: the floor is %d bytes under a limit of %d; want %d under %d", c.about, got, debug.SetMemoryLimit(-1), c.floor, c.limit)
		}
	}
}
