package router

import (
	"math"
	"time"

	"github.com/eventd-io/eventd/event"
	"golang.org/x/time/rate"
)

// Attempts that were not made are made up for within 1/catchUp of a second and no more.
const catchUp = 20

// evenShare of a rate comes from the bucket where a window counts, too. With all of
// it a hole, as one that follows what was made up for, would come back every second.
const evenShare = 0.99

// limiter keeps a handler's rate: evenly by the bucket, and strictly, as what the
// bucket makes up for comes beside what it lets through anyway, by the window.
type limiter struct {
	bucket *rate.Limiter
	window *window // nil where the bucket holds one
}

// newLimiter returns what keeps a handler's rate, nil for no limit. What began under
// the limiter before, if there was one, counts.
func newLimiter(perSecond float64, before *limiter) *limiter {
	if perSecond <= 0 {
		return nil
	}
	burst := max(int(perSecond/catchUp), 1)
	l := &limiter{bucket: rate.NewLimiter(rate.Limit(perSecond), burst)}
	if burst > 1 {
		l.bucket.SetLimit(rate.Limit(evenShare * perSecond))
		l.window = &window{since: time.Now()}
		if before != nil && before.window != nil {
			*l.window = *before.window
		}
		l.window.most = int(math.Ceil(perSecond))
	}
	if before != nil {
		l.bucket.ReserveN(time.Now(), burst)
	}
	return l
}

// left returns how many attempts may begin now. While the window is shut the bucket
// gathers no more than one, or all of it would come at once when it opens.
func (l *limiter) left(now time.Time) int {
	n := int(l.bucket.TokensAt(now)) // below zero when more began than it held
	if l.window == nil {
		return n
	}
	open := l.window.left(now)
	if open <= 0 && n > 1 {
		l.bucket.ReserveN(now, n-1)
	}
	return min(n, open)
}

// spend counts attempts that begin.
func (l *limiter) spend(n int, now time.Time) {
	l.bucket.ReserveN(now, n)
	if l.window != nil {
		l.window.spend(n, now)
	}
}

// wait returns after what time another attempt may begin beside so many that are
// reserved, or it is worth to look again; none when one may now.
func (l *limiter) wait(reserved int, now time.Time) time.Duration {
	missing := float64(1+reserved) - l.bucket.TokensAt(now)
	wait := time.Duration(missing / float64(l.bucket.Limit()) * float64(time.Second))
	if l.window != nil && l.window.left(now) < 1+reserved {
		wait = max(wait, partTime-now.Sub(l.window.since)%partTime)
	}
	return max(wait, 0)
}

// A window is counted in parts of a second.
const (
	windowParts = 200
	partTime    = time.Second / windowParts
)

// window knows how many attempts began in the last second, and up to a part more.
type window struct {
	most   int
	since  time.Time // with a monotonic reading: a clock that is set changes nothing
	began  [windowParts + 1]int
	sum    int
	newest int // number of the newest part
}

func (w *window) left(now time.Time) int {
	w.turn(now)
	return w.most - w.sum
}

func (w *window) spend(n int, now time.Time) {
	w.turn(now)
	w.began[w.newest%len(w.began)] += n
	w.sum += n
}

// turn lets go of the parts that are over.
func (w *window) turn(now time.Time) {
	n := int(now.Sub(w.since) / partTime)
	w.newest = max(w.newest, n-len(w.began)) // what is older than all of them is over, too
	for w.newest < n {
		w.newest++
		i := w.newest % len(w.began)
		w.sum -= w.began[i]
		w.began[i] = 0
	}
}

// allowed returns how many of n attempts the rate allows to be counted now, beside
// those that are counted and have not begun. The caller holds mu.
func (d *dispatcher) allowed(n int) int {
	if d.limiter == nil || n <= 0 {
		return n
	}
	return min(n, max(d.limiter.left(time.Now())-d.counting-len(d.ahead), 0))
}

// spend counts attempts against the rate when they begin: a slow commit must not
// let those that waited for it begin beside what the rate allows after it. The
// caller holds mu.
func (d *dispatcher) spend(n int) {
	if d.limiter != nil {
		d.limiter.spend(n, time.Now())
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
	if d.limiter == nil || d.allowed(1) > 0 {
		return time.Time{}
	}
	return now.Add(max(d.limiter.wait(d.counting+len(d.ahead), time.Now())+time.Microsecond, shortestWait))
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
