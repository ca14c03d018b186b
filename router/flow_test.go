package router

import (
	"testing"
	"time"
)

func TestFlowRate(t *testing.T) {
	start := time.Unix(1000, 0)
	f := &flow{}
	for range 500 {
		f.count(start.Add(50 * time.Millisecond))
	}
	for range 20 {
		f.count(start.Add(101 * time.Millisecond))
	}
	for _, c := range []struct {
		about string
		at    time.Duration
		want  int
	}{
		{"the window before counts", 102 * time.Millisecond, 500},
		{"a clock read a while ago", 98 * time.Millisecond, 500},
		{"and it changes nothing", 103 * time.Millisecond, 500},
		{"the next window", 201 * time.Millisecond, 20},
		{"long after", 2 * time.Second, 0},
		{"the clock set back", -time.Hour, 0},
	} {
		if got := f.rate(start.Add(c.at)); got != c.want {
			t.Errorf("%s: rate = %d; want %d", c.about, got, c.want)
		}
	}
}
