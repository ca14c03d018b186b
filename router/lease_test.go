package router

import (
	"testing"
	"time"
)

// TestLeaseQueue ends many long leases while a short one is open: what is over
// takes no room.
func TestLeaseQueue(t *testing.T) {
	l, now := newLeases(), time.Now()
	l.set(leased{seq: 1, handler: "h", until: now.Add(time.Minute)})
	for i := range uint64(100_000) {
		l.set(leased{seq: i + 2, handler: "h", until: now.Add(12 * time.Hour)})
		l.drop(i+2, 0)
	}
	if n := len(l.queue); n > 2*leaseSlack {
		t.Errorf("the queue holds %d entries for one lease", n)
	}
	l.set(leased{seq: 1, handler: "h", until: now.Add(time.Hour)})
	l.putBack(leased{seq: 1, handler: "h", until: now.Add(time.Second)})
	if list, next := l.due(now.Add(2*time.Minute), 10); len(list) != 0 || !next.Equal(now.Add(time.Hour)) {
		t.Errorf("due = %v, %v; want none before the extension ends", list, next)
	}
	if list, _ := l.due(now.Add(time.Hour), 10); len(list) != 1 || l.of("h") != 0 {
		t.Errorf("due = %v, %d open; want the lease, and none open", list, l.of("h"))
	}
}
