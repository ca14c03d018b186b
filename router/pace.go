package router

import (
	"time"
)

// maxPace bounds how long messages of a source wait for room at a handler, each
// time that there is none.
const maxPace = 250 * time.Millisecond

// pace decides whether messages of a source wait before they are stored. They do
// when all of them go to one handler that has as much as it can take and works
// at a good pace: they are as safe in their stream, and what begins with the
// commit that stores it is written once less than what is queued. Who shares a
// source with other handlers never waits, nor does the queue of a slow handler
// or one that takes nothing: that is what the store is for.
type pace struct {
	only *dispatcher // where all messages have gone so far
	off  bool
}

// space returns the channel to wait for before a planned message is stored, nil
// to store it now. One that is to wait has reserved nothing.
func (c *pace) space(r *Router, p *plan, now time.Time) <-chan struct{} {
	if c.off || p.Event.Source == "" || p.Mark != nil {
		return nil
	}
	if len(p.State.Deliveries) != 1 {
		c.off = true
		return nil
	}
	if p.State.Deliveries[0].Status.Final() {
		return nil
	}
	d := r.dispatcher(p.State.Deliveries[0].Handler)
	if d == nil || c.only != nil && c.only != d {
		c.off = true
		return nil
	}
	c.only = d
	if p.reserved[0] != nil || p.State.Deliveries[0].NextAttempt.After(now) {
		return nil
	}
	return d.saturated(now)
}

// await waits until there is space, but not for long.
func (r *Router) await(space <-chan struct{}, c *pace) {
	if space == nil {
		return
	}
	timer := time.NewTimer(maxPace)
	defer timer.Stop()
	select {
	case <-space:
	case <-r.quit:
		c.off = true
	case <-timer.C:
		c.off = true
	}
}
