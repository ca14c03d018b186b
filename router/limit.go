package router

import (
	"time"

	"github.com/eventd-io/eventd/event"
	"golang.org/x/time/rate"
)

// newLimiter returns what keeps a handler's rate, nil for no limit. Attempts that
// were not made are made up for within a twentieth of a second and no more.
func newLimiter(perSecond float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(int(perSecond/20), 1))
}

// allowed returns how many of n attempts the rate allows to be counted now, beside
// those that are counted and have not begun. The caller holds mu.
func (d *dispatcher) allowed(n int, now time.Time) int {
	if d.limiter == nil || n <= 0 {
		return n
	}
	return min(n, int(max(d.tokens(now), 0)))
}

// tokens returns how many attempts the rate has left. There is a limiter; the
// caller holds mu.
func (d *dispatcher) tokens(now time.Time) float64 {
	return d.limiter.TokensAt(now) - float64(d.counting+len(d.ahead))
}

// spend counts attempts against the rate when they begin: a slow commit must not
// let those that waited for it begin beside what the rate allows after it. The
// caller holds mu.
func (d *dispatcher) spend(n int) {
	if d.limiter != nil {
		d.limiter.ReserveN(time.Now(), n)
	}
}

// shortestWait bounds how often a handler with a high rate is looked at.
const shortestWait = time.Millisecond

// reopens returns the soonest time at which something may begin that may not now
// because of a rest, an open breaker or the rate; zero for none of them. The
// caller holds mu.
func (d *dispatcher) reopens(now time.Time) time.Time {
	at := d.rest
	if d.breaker.until.After(at) {
		at = d.breaker.until
	}
	if at.After(now) {
		return at
	}
	if d.limiter == nil || d.allowed(1, now) > 0 {
		return time.Time{}
	}
	wait := time.Duration((1-d.tokens(now))/float64(d.limiter.Limit())*float64(time.Second)) + time.Microsecond
	return now.Add(max(wait, shortestWait))
}

// record lets the breaker and the ramp know what came of an attempt.
func (d *dispatcher) record(t *task, a *event.Answer) {
	failed := a.Outcome == event.Again && !a.Uncharged
	if a.Reason == event.Interrupted {
		return // says nothing of the handler
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, now := d.handler.Breaker, time.Now()
	changed := c != nil && !a.Silent && d.breaker.record(failed, c, now)
	if a.Outcome != event.Again {
		d.endedWell(t, now)
	}
	if !changed {
		return
	}
	if failed {
		d.closeOff()
		d.router.log.Warn().Str("handler", d.name).Int("failures", d.breaker.failures).Str("open", c.Open.String()).
			Msg("handler fails again and again: its breaker is open and its events wait")
	} else {
		d.router.log.Info().Str("handler", d.name).Msg("handler is back: its breaker is closed")
	}
	d.signal()
}
