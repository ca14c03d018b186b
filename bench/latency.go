package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// published is what the publisher says about its work.
type published struct {
	Sent      int     // messages, warm-up included
	Timed     int     // messages that count
	PerSecond float64 // reached while it counted
	BehindP99 float64 // ms between the intended and the real sending
	Failed    int     // messages the server did not confirm
}

// percentiles are what the sink has measured, in ms.
type percentiles struct {
	Count          int64
	P50, P99, P999 float64
}

const (
	// reached is the share of the intended load under which a run is marked.
	reached = 0.99
	// queueing is the median, in ms, above which a run is marked: most of it is
	// the wait behind other messages.
	queueing = 50
	// punctual is the publisher's own lateness, in ms, above which a run is marked.
	punctual = 2
)

// latency publishes at a fixed rate and returns how long after its intended time
// a message is at the handler.
func (w *world) latency(ctx context.Context, s system, rate int) (sample, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	o := order{workers: w.workers}
	r, err := s.start(w, o)
	if err != nil {
		return nil, err
	}
	if err := w.awaitReady(ctx, r); err != nil {
		return nil, err
	}
	profiled := w.profile(ctx, r)
	did, err := w.load(ctx, rate)
	profiled()
	if err != nil {
		return nil, err
	}
	if did.PerSecond < reached*float64(rate) {
		w.note("%s: the publisher reached %.0f of %d messages/s", w.variant, did.PerSecond, rate)
	}
	if did.BehindP99 > punctual {
		w.note("%s: the machine was busy: the publisher was %.1f ms late at the 99th percentile, which counts as latency", w.variant, did.BehindP99)
	}
	result, err := w.arrived(ctx, r, did)
	if err != nil {
		return nil, err
	}
	return result, w.finish(ctx, r, o, did.Sent, result)
}

// arrived waits for what was published and reads the sink's histogram.
func (w *world) arrived(ctx context.Context, r *running, did published) (sample, error) {
	ended := time.Now()
	if _, err := w.awaitSink(ctx, r, did.Sent); err != nil {
		return nil, err
	}
	if late := time.Since(ended); late > time.Second {
		w.note("%s: it did not keep up with the load: the last message came %.1f s after it was sent", w.variant, late.Seconds())
	}
	var p percentiles
	if err := getJSON(ctx, w.sink+"/latency", &p); err != nil {
		return nil, err
	}
	if p.P50 > queueing {
		w.note("%s: it did not keep up with the load for a time: half of the messages waited %.0f ms or more", w.variant, p.P50)
	}
	if p.Count < int64(did.Timed) {
		return nil, fmt.Errorf("the sink has timed %d messages; want %d", p.Count, did.Timed)
	}
	return sample{kP50: p.P50, kP99: p.P99, kP999: p.P999, kOffered: did.PerSecond, kBehind: did.BehindP99}, nil
}

// awaitReady waits until eventd says so. Others have the warm-up to begin.
func (w *world) awaitReady(ctx context.Context, r *running) error {
	if r.metrics == "" {
		return nil
	}
	return wait(ctx, r.process, func() (bool, error) { return isReady(ctx, r.metrics), nil })
}

// load runs the publisher to its end.
func (w *world) load(ctx context.Context, rate int) (did published, err error) {
	p, err := w.part("publish", "-nats", w.nats, "-rate", fmt.Sprint(rate), "-size", fmt.Sprint(w.size),
		"-warmup", w.warmup.String(), "-load", w.options.load.String())
	if err != nil {
		return did, err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return did, ctx.Err()
	}
	if !p.cmd.ProcessState.Success() {
		return did, fmt.Errorf("publisher: %s\n%s", p.cmd.ProcessState, p.tail())
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		return did, err
	}
	if err := json.Unmarshal(text, &did); err != nil {
		return did, err
	}
	if did.Failed > 0 {
		return did, fmt.Errorf("publisher: the server did not confirm %d of %d messages", did.Failed, did.Sent)
	}
	return did, nil
}
