package router

import "time"

// ramp lets a handler begin gently that was closed off by its breaker, its health
// or a rest: with one attempt, and one more for each that ends well, so that what
// runs doubles from one round to the next until it is what the handler may have.
// 0 is the end of it. Who resumes a paused handler has decided otherwise.
type ramp int

// gentle returns how many attempts may run at a handler that was closed off, beside
// those that began before: one of these may take long, and nobody waits for it. 0
// is for as many as ever. The caller holds mu.
func (d *dispatcher) gentle(now time.Time) int {
	if d.breaker.trial(now) {
		return 1
	}
	return int(d.ramp)
}

// grow takes in an attempt that ended well.
func (r *ramp) grow(concurrency int) {
	if *r == 0 {
		return
	}
	if *r++; int(*r) >= concurrency {
		*r = 0
	}
}

// closeOff notes that the handler takes nothing for a time: it is to begin gently
// after it. The caller holds mu.
func (d *dispatcher) closeOff() {
	d.closes++
	d.earlier = d.running
	if d.handler.Concurrency > 1 {
		d.ramp = 1
	}
}

// endedWell lets more run beside it. What began before the handler was closed off
// says nothing of how it is after that. The caller holds mu.
func (d *dispatcher) endedWell(t *task, now time.Time) {
	if d.ramp > 0 && t.closed == d.closes && d.open(now) {
		d.ramp.grow(d.handler.Concurrency)
	}
}
