package router

import (
	"context"
	"time"
)

// Health keeps events from a handler whose service says that it is not well.
type Health struct {
	Prober   Prober
	Interval time.Duration // between two probes, a tenth more or less
	Failures int           // probes in a row that fail, after which its events wait
}

// health is what the probes of a handler have found.
type health struct {
	failures int       // in a row
	since    time.Time // since when it is not well; zero while it is
	problem  string    // what the last probe found; "" for nothing
}

// well reports whether attempts may begin.
func (h *health) well() bool { return h.since.IsZero() }

// record takes in what a probe has found, and reports whether that is a change:
// to the worse after the given number of failures in a row, to the better at once.
func (h *health) record(err error, failures int, now time.Time) (changed bool) {
	if err == nil {
		changed = !h.well()
		*h = health{}
		return changed
	}
	h.failures++
	h.problem = err.Error()
	if !h.well() || h.failures < failures {
		return false
	}
	h.since = now
	return true
}

// untilProbe returns how long to wait for the next probe; chance is in [0,1).
func untilProbe(interval time.Duration, chance float64) time.Duration {
	return time.Duration(float64(interval) * (0.9 + 0.2*chance))
}

// watchHealth ends the probes there are and begins those that the handler is
// configured to have. What was found lasts until they find something else. The
// caller holds mu.
func (d *dispatcher) watchHealth() {
	if d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
	h := d.handler.Health
	if h == nil || d.retired {
		d.health = health{}
		return
	}
	if !d.started {
		return
	}
	ctx, cancel := context.WithCancel(d.router.lifetime)
	d.unwatch = cancel
	d.router.background.Go(func() { d.watch(ctx, h) })
}

// watch probes until ctx ends.
func (d *dispatcher) watch(ctx context.Context, h *Health) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		d.probed(ctx, h, h.Prober.Probe(ctx))
		timer.Reset(untilProbe(h.Interval, chance()))
	}
}

// probed goes on with what a probe has found, unless nobody is asked any more.
func (d *dispatcher) probed(ctx context.Context, h *Health, found error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil || !d.health.record(found, h.Failures, time.Now()) {
		return
	}
	if found != nil {
		d.closeOff()
		d.router.log.Warn().Str("handler", d.name).Int("failures", d.health.failures).Str("problem", d.health.problem).
			Msg("handler is not well: its events wait until a probe succeeds")
	} else {
		d.router.log.Info().Str("handler", d.name).Msg("handler is well again")
	}
	d.signal()
}
