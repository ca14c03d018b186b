// Package retry decides whether and when a failed attempt is made again, and
// wakes whoever has something due.
//
// [Policy.Next] is a pure function: it has no clock and no source of chance.
// The schedule itself is kept by the store, so that a restart changes nothing
// about it; [Alarm] only sleeps until the soonest time it was told.
package retry

import (
	"math"
	"time"
)

// Backoff says how delays grow from attempt to attempt.
type Backoff string

// The ways delays grow.
const (
	Exponential Backoff = "exponential" // initial × factor^(n-1)
	Linear      Backoff = "linear"      // initial × n
	Constant    Backoff = "constant"    // initial
)

// Unlimited stands for no bound on the number of attempts.
const Unlimited = 0

// Policy says how often and when to try again.
type Policy struct {
	Backoff     Backoff
	Initial     time.Duration
	Factor      float64       // of an exponential backoff; below 1 counts as 1
	Max         time.Duration // no delay is longer, but for the jitter; 0: no bound
	Jitter      float64       // a delay d becomes one of d×(1-jitter) … d×(1+jitter)
	MaxAttempts int           // executions altogether; [Unlimited]
	MaxElapsed  time.Duration // from the first attempt to the last; 0: no bound
	// Schedule lists the delays one by one instead of a backoff. There are as
	// many retries as delays, unless MaxAttempts allows fewer.
	Schedule []time.Duration
}

// Default is the policy of a handler that names none.
func Default() Policy {
	return Policy{
		Backoff: Exponential, Initial: time.Second, Factor: 2, Max: 5 * time.Minute,
		Jitter: 0.2, MaxAttempts: 15, MaxElapsed: 24 * time.Hour,
	}
}

// Next returns how long to wait before the next attempt. attempts is the number
// made that count against the policy, at least 1; elapsed the time since the
// first of them began; chance a random number in [0,1) that places the delay
// within the jitter. ok is false when attempts or time are used up.
func (p Policy) Next(attempts int, elapsed time.Duration, chance float64) (delay time.Duration, ok bool) {
	if p.MaxAttempts != Unlimited && attempts >= p.MaxAttempts {
		return 0, false
	}
	attempts = max(attempts, 1)
	if len(p.Schedule) > 0 {
		if attempts > len(p.Schedule) {
			return 0, false
		}
		delay = p.Schedule[attempts-1]
	} else {
		delay = p.backoff(attempts)
	}
	delay = spread(delay, p.Jitter, chance)
	// Not elapsed+delay: a clock that was set wrong makes the sum overflow.
	if p.MaxElapsed > 0 && elapsed > p.MaxElapsed-delay {
		return 0, false
	}
	return delay, true
}

func (p Policy) backoff(attempts int) time.Duration {
	if p.Initial <= 0 {
		return 0 // and not 0 × infinity, which is no number
	}
	d := float64(p.Initial)
	switch p.Backoff {
	case Linear:
		d *= float64(attempts)
	case Constant:
	default:
		d *= math.Pow(max(p.Factor, 1), float64(attempts-1))
	}
	if p.Max > 0 {
		d = min(d, float64(p.Max))
	}
	return clamp(d)
}

// spread moves a delay to a place within its jitter.
func spread(d time.Duration, jitter, chance float64) time.Duration {
	return clamp(float64(d) * (1 - jitter + 2*jitter*chance))
}

// clamp keeps a duration where adding it to a time is safe: below 100 years.
func clamp(d float64) time.Duration {
	const century = float64(100 * 365 * 24 * time.Hour)
	if !(d < century) { // also for NaN
		return time.Duration(century)
	}
	return time.Duration(max(d, 0))
}
