package metrics

import "github.com/prometheus/client_golang/prometheus"

// Each histogram is classic and native. The native one begins with buckets 10%
// wide; when it has more than 160 of them it makes them wider. It is never
// reset instead, which would take the classic buckets and the count with it.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramMaxBucketNumber: 160,
	}
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogram(name, help, buckets), labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// attempts are buckets from a service on the same machine to the longest
// timeouts that make sense.
func attempts() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
}

// lifetimes are buckets from an event that succeeds at once to one that is
// tried for a day.
func lifetimes() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 28800, 86400}
}

// delays are buckets around 50 ms, which a retry is to be late at most, and up
// to a backlog that takes half an hour.
func delays() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 10, 60, 300, 1800}
}

// syncs are buckets from a fast disk to one that is about to fail.
func syncs() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// groups are buckets of operations in a commit.
func groups() []float64 { return prometheus.ExponentialBuckets(1, 2, 11) }
