package main

import (
	"context"
	"net/http"
	"time"
)

// starts measures how long eventd takes to be ready. A start adds nothing to the
// store, so the backlog itself is used and not a copy.
func starts(b *bench) []variant {
	o := order{workers: b.workers}
	return []variant{
		{"empty", func(ctx context.Context, w *world) (sample, error) { return w.ready(ctx, b.own(), o) }},
		{"stored", func(ctx context.Context, w *world) (sample, error) {
			if err := w.buildBacklog(ctx); err != nil {
				return nil, err
			}
			stored := o
			stored.data = b.backlog
			return w.ready(ctx, b.own(), stored)
		}},
	}
}

// ready starts eventd and returns how long it took until it said that it is ready.
func (w *world) ready(ctx context.Context, s system, o order) (sample, error) {
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	r, err := s.start(w, o)
	if err != nil {
		return nil, err
	}
	for !isReady(ctx, r.metrics) {
		if err := r.gone(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pause(time.Millisecond)
	}
	took := time.Since(began)
	m := memoryOf(r.cmd.Process.Pid)
	_, err = r.stop(ctx)
	return sample{kReady: took.Seconds(), kRSS: float64(m.resident) / (1 << 20)}, err
}

// isReady asks eventd whether it is ready.
func isReady(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}
