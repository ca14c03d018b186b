package retry

import (
	"context"
	"sync"
	"time"
)

// Alarm wakes its owners when something of theirs is due: one goroutine and one
// timer for all of them, however many rows wait. Each owner has one time, the
// soonest; after it rang the owner sets the next.
type Alarm struct {
	ring func(owner string)

	mu    sync.Mutex
	times map[string]time.Time
	wake  chan struct{}
}

// NewAlarm returns an alarm that calls ring, which must not block, from the
// goroutine of [Alarm.Run].
func NewAlarm(ring func(owner string)) *Alarm {
	return &Alarm{ring: ring, times: make(map[string]time.Time), wake: make(chan struct{}, 1)}
}

// Set asks to ring for the owner at the given time, unless it is to ring
// sooner. The zero time changes nothing.
func (a *Alarm) Set(owner string, at time.Time) {
	if at.IsZero() {
		return
	}
	a.mu.Lock()
	old, set := a.times[owner]
	sooner := !set || at.Before(old)
	if sooner {
		a.times[owner] = at
	}
	a.mu.Unlock()
	if !sooner {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run rings until ctx ends. It never rings early.
func (a *Alarm) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for _, owner := range a.due(time.Now()) {
			a.ring(owner)
		}
		timer.Reset(a.untilNext(time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
	}
}

// due takes out the owners whose time has come.
func (a *Alarm) due(now time.Time) (owners []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for owner, at := range a.times {
		if !at.After(now) {
			owners = append(owners, owner)
			delete(a.times, owner)
		}
	}
	return owners
}

// longest is how long the alarm sleeps when nothing is set, and at most: the
// wall clock may be moved while it does.
const longest = time.Minute

func (a *Alarm) untilNext(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := longest
	for _, at := range a.times {
		d = min(d, at.Sub(now))
	}
	return max(d, 0)
}
