package router

import "time"

// Bounds of what is counted ahead of free slots.
const (
	flowWindow = 100 * time.Millisecond
	// staleWindows is how old a time may be; a clock set back further begins anew.
	staleWindows = 20
	// minAhead is how many attempts a handler must finish in a window before any
	// is counted ahead: those of a slow one are IN_PROGRESS only while they run.
	minAhead = 32
	maxAhead = 1024
	// steady is what a handler must finish in a window for a source to wait for
	// it instead of filling its queue in the store.
	steady = 200
)

// flow knows how many attempts a handler finishes in a tenth of a second.
type flow struct {
	window    int64 // number of the current one
	now, last int   // attempts ended in it, and in the one before
}

func (f *flow) turn(now time.Time) {
	switch w := now.UnixNano() / int64(flowWindow); {
	case w <= f.window && w > f.window-staleWindows: // who asks has read the clock a while ago
	case w == f.window+1:
		f.window, f.last, f.now = w, f.now, 0
	default:
		f.window, f.last, f.now = w, 0, 0
	}
}

// count says that an attempt has ended.
func (f *flow) count(now time.Time) {
	f.turn(now)
	f.now++
}

// rate returns how many attempts end in a window at present.
func (f *flow) rate(now time.Time) int {
	f.turn(now)
	return max(f.now, f.last)
}

// ahead returns how many attempts may be counted ahead of free slots.
func (f *flow) ahead(now time.Time) int {
	n := f.rate(now)
	if n < minAhead {
		return 0
	}
	return min(n, maxAhead)
}
