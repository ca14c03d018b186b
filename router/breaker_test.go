package router

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	c := &Breaker{Failures: 3, Open: 30 * time.Second}
	start := time.Unix(1000, 0)
	var b breaker
	for i, x := range []struct {
		about         string
		at            time.Duration
		failed        bool
		changed, open bool
	}{
		{"a failure", 0, true, false, false},
		{"another", 1, true, false, false},
		{"a success begins anew", 2, false, false, false},
		{"one", 3, true, false, false},
		{"two", 4, true, false, false},
		{"three in a row", 5, true, true, true},
		{"what ran beside it", 6, true, false, true},
		{"and ended well", 7, false, false, true},
		{"the trial fails", 35 * time.Second, true, true, true},
		{"the next trial succeeds", 66 * time.Second, false, true, false},
		{"and counts from nothing", 67 * time.Second, true, false, false},
	} {
		now := start.Add(x.at)
		if changed := b.record(x.failed, c, now); changed != x.changed || b.open(now) != x.open {
			t.Errorf("%d, %s: changed %v, open %v; want %v, %v", i, x.about, changed, b.open(now), x.changed, x.open)
		}
	}
}
