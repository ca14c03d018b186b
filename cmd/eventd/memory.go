package main

import (
	"os"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// heapFloor is how much garbage may gather beside a small heap. eventd keeps
	// about ten megabytes alive and makes several hundred a second at full load:
	// left alone, the collector would run 25 times a second, a fifth of all CPU.
	heapFloor = 40 << 20
	// limitShare is what of the container's memory the Go runtime tries to stay
	// below: the rest is for what it does not count.
	limitShare = 0.9
	// limitForFloor is the container below which memory is worth more than CPU.
	limitForFloor = 192 << 20
)

// fitMemory fits the garbage collector to the container that eventd runs in,
// unless the environment does (GOMEMLIMIT, GOGC). A container whose limit cannot
// be read counts as one without. What it returns must be kept for as long as
// eventd runs: memory that counts as in use and is never touched, so that a
// collection begins at the floor, or at twice of what is in use where that is more.
func fitMemory() (floor []byte) {
	limit, _ := memlimit.Set(memlimit.WithRatio(limitShare))
	if os.Getenv("GOGC") != "" || limit < limitForFloor {
		return nil
	}
	floor = make([]byte, heapFloor/2)
	vacate(floor)
	return floor
}
