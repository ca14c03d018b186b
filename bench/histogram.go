package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newHistogram takes 1 µs to a minute, in ns, with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(time.Microsecond.Nanoseconds(), time.Minute.Nanoseconds(), 3)
}

// recorder collects latencies from many goroutines.
type recorder struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

func newRecorder() *recorder { return &recorder{hist: newHistogram()} }

// record adds one. What is longer than the histogram counts as its longest, so
// that it is not lost.
func (r *recorder) record(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.hist.RecordValue(min(max(d.Nanoseconds(), 0), time.Minute.Nanoseconds()))
}

func (r *recorder) percentiles() percentiles {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := func(q float64) float64 { return milliseconds(r.hist.ValueAtQuantile(q)) }
	return percentiles{Count: r.hist.TotalCount(), P50: at(50), P99: at(99), P999: at(99.9)}
}

func milliseconds(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
