package main

import (
	"context"
	"fmt"
	"time"
)

// seen is what the sink has counted.
type seen struct {
	Count    int   // requests answered with 200
	Refused  int   // requests answered with 503
	First    int64 // ns since 1970
	Last     int64
	Mistakes int // requests it could not read
}

// drain fills the stream, lets the system drain it, and returns what that took.
func (w *world) drain(ctx context.Context, s system, o order) (sample, error) {
	if err := w.prepare(ctx, o); err != nil {
		return nil, err
	}
	r, err := s.start(w, o)
	if err != nil {
		return nil, err
	}
	profiled := w.profile(ctx, r)
	result, err := w.await(ctx, r, o)
	profiled()
	if err != nil {
		return nil, err
	}
	return result, w.finish(ctx, r, o, w.messages, result)
}

// prepare makes a sink for the order and a stream full of messages.
func (w *world) prepare(ctx context.Context, o order) error {
	args := append([]string{"-fail-every", fmt.Sprint(o.failEvery)}, o.sink...)
	if err := w.begin(ctx, args...); err != nil {
		return err
	}
	return w.fill(ctx, w.messages)
}

// await waits until all messages are where they belong, and returns the rate.
func (w *world) await(ctx context.Context, r *running, o order) (sample, error) {
	got, err := w.awaitSink(ctx, r, w.messages)
	if err != nil {
		return nil, err
	}
	end := time.Unix(0, got.Last)
	if r.api != "" {
		if err := w.awaitCompleted(ctx, r, o); err != nil {
			return nil, err
		}
		if o.untilCompleted {
			end = time.Now()
		}
	}
	if o.failEvery > 0 {
		end = end.Add(-o.retryDelay)
	}
	took := end.Sub(time.Unix(0, got.First))
	return sample{kRate: float64(w.messages-1) / took.Seconds()}, nil
}

// finish ends the system and adds what it has cost. Events in all is what its
// files are divided by.
func (w *world) finish(ctx context.Context, r *running, o order, events int, s sample) error {
	cpu, err := r.stop(ctx)
	if err != nil {
		return err
	}
	s[kCPU] = cpu.Seconds() * 100_000 / float64(events)
	s[kRSS] = float64(r.memory.resident) / (1 << 20)
	s[kAnon] = float64(r.memory.anonymous) / (1 << 20)
	if length, disk := sizes(r.data); r.data != "" && length > 0 && o.data == "" {
		s[kFile] = float64(length) / float64(events)
		s[kDisk] = float64(disk) / float64(events)
	}
	var after seen
	if err := getJSON(ctx, w.sink+"/seen", &after); err != nil {
		return err
	}
	if after.Count > events {
		w.note("%s: %d messages of %d came to the sink more than once", w.variant, after.Count-events, events)
	}
	return nil
}

func (w *world) awaitSink(ctx context.Context, r *running, want int) (s seen, err error) {
	err = wait(ctx, r.process, func() (bool, error) {
		err := getJSON(ctx, w.sink+"/seen", &s)
		if err == nil && s.Mistakes > 0 {
			err = fmt.Errorf("the sink could not read %d requests (without Content-Length?)", s.Mistakes)
		}
		return s.Count >= want, err
	})
	if err != nil {
		return s, fmt.Errorf("%d of %d messages reached the sink: %w\n%s", s.Count, want, err, r.tail())
	}
	return s, nil
}

// awaitCompleted waits until every event is COMPLETED in the store, and every
// follow-up is published and COMPLETED as well.
func (w *world) awaitCompleted(ctx context.Context, r *running, o order) error {
	var s status
	err := wait(ctx, r.process, func() (bool, error) {
		err := getJSON(ctx, r.api+"/v1/status", &s)
		followUps := 0
		if o.followUp {
			followUps = w.messages
		}
		return s.Counts["inbound"]["COMPLETED"] == w.messages && s.Store.Outbox == 0 && s.Counts["request"]["COMPLETED"] >= followUps, err
	})
	if err != nil {
		return fmt.Errorf("events by status: %v: %w", s.Counts, err)
	}
	return nil
}

// status is what we read of eventd's.
type status struct {
	Counts map[string]map[string]int `json:"counts"`
	Store  struct {
		Outbox int `json:"outbox"`
	} `json:"store"`
}
