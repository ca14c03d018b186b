package router

import "time"

// Breaker keeps events from a handler that fails again and again.
type Breaker struct {
	Failures int           // in a row, after which it opens
	Open     time.Duration // how long nothing is tried then
}

// breaker is the state of one. It is closed while until is zero, open until
// that time, and lets one attempt through after it, which decides.
type breaker struct {
	failures int
	until    time.Time
}

// trial reports whether one attempt is to decide.
func (b *breaker) trial(now time.Time) bool { return !b.until.IsZero() && !now.Before(b.until) }

// open reports whether nothing is tried.
func (b *breaker) open(now time.Time) bool { return now.Before(b.until) }

// record takes in what came of an attempt, and reports whether the breaker
// changed its state. What began before it opened says nothing new.
func (b *breaker) record(failed bool, c *Breaker, now time.Time) (changed bool) {
	switch {
	case b.open(now):
		return false
	case !failed:
		changed = !b.until.IsZero()
		*b = breaker{}
		return changed
	}
	b.failures++
	if b.failures < c.Failures && !b.trial(now) {
		return false
	}
	*b = breaker{failures: b.failures, until: now.Add(c.Open)}
	return true
}
