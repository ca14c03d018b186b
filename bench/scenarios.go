package main

import (
	"context"
	"time"
)

// The keys of the measures.
const (
	kRate      = "events_per_second"
	kCPU       = "cpu_seconds_per_100000"
	kRSS       = "peak_rss_mb"
	kAnon      = "peak_anonymous_mb"
	kFile      = "file_bytes_per_event"
	kDisk      = "allocated_bytes_per_event"
	kP50       = "p50_ms"
	kP99       = "p99_ms"
	kP999      = "p999_ms"
	kOffered   = "offered_per_second"
	kBehind    = "publisher_p99_ms"
	kFind      = "find_p99_ms"
	kFindFirst = "first_find_p99_ms"
	kReady     = "ready_seconds"
	slowDelay  = 10 * time.Millisecond
	slowSlots  = 256
	failEvery  = 5 // one in so many is answered 503 once
)

func rateMeasure() measure { return measure{key: kRate, title: "events/s", more: true} }

// costMeasures are what a drain shows beside its rate.
func costMeasures() []measure {
	return []measure{
		{key: kCPU, title: "CPU s per 100,000", digits: 1},
		{key: kRSS, title: "peak RSS, MB", digits: 0},
		{key: kAnon, title: "of it anonymous, MB", digits: 0},
	}
}

func drainMeasures() []measure {
	return append([]measure{rateMeasure()}, costMeasures()...)
}

func fileMeasures() []measure {
	return []measure{
		{key: kFile, title: "file bytes per event"},
		{key: kDisk, title: "allocated bytes per event"},
	}
}

func findMeasures() []measure {
	return []measure{
		{key: kFindFirst, title: "first 2,000 finds by id, p99, ms", digits: 2},
		{key: kFind, title: "find by id, p99, ms", digits: 2},
	}
}

func latencyMeasures() []measure {
	return []measure{
		{key: kP99, title: "p99, ms", digits: 2}, {key: kP50, title: "p50, ms", digits: 2}, {key: kP999, title: "p99.9, ms", digits: 2},
		{key: kOffered, title: "offered events/s", more: true}, {key: kBehind, title: "publisher behind schedule, p99, ms", digits: 2},
		{key: kCPU, title: "CPU s per 100,000", digits: 1},
	}
}

// scenarios lists all there are, in the order they run.
func scenarios() []scenario {
	return []scenario{
		{
			name: "drain", about: "messages that already are in a file stream, each POSTed to a sink that answers at once",
			baseline: "loop", subject: "eventd", measures: append(drainMeasures(), fileMeasures()...),
			goals: []goal{{key: kRate, ratio: true, min: 1}, {key: kCPU, max: 3.2}, {key: kRSS, max: 100}, {key: kAnon, max: 60}, {key: kFile, max: 1500}},
			variants: func(b *bench) []variant {
				return drains(b.systems(true), order{workers: b.workers})
			},
		},
		{
			name: "latency-1k", about: "intended sending to the handler at 1,000 messages/s",
			baseline: "loop", subject: "eventd", measures: latencyMeasures(),
			goals:    []goal{{key: kP50, max: 1}, {key: kP50, ratio: true, max: 3.5}, {key: kP99, max: 3}, {key: kP99, ratio: true, max: 3.5}},
			variants: func(b *bench) []variant { return latencies(b.systems(true), 1000) },
		},
		{
			name: "latency-10k", about: "the same at 10,000 messages/s",
			baseline: "loop", subject: "eventd", measures: latencyMeasures(),
			goals:    []goal{{key: kP99, ratio: true, max: 3}},
			variants: func(b *bench) []variant { return latencies(b.systems(false), 10_000) },
		},
		{
			name: "followup", about: "drain where each answer carries an event that is published to a topic; the loop has none to publish",
			baseline: "loop", subject: "eventd", measures: append(drainMeasures(), fileMeasures()...),
			goals:    []goal{{key: kRate, ratio: true, min: 0.45}},
			variants: followUps,
		},
		{
			name: "retry", about: "drain where 20% answer 503 once, against one where none does; until all are COMPLETED, less one retry delay",
			baseline: "none fails", subject: "20% fail once", measures: drainMeasures(),
			goals:    []goal{{key: kRate, ratio: true, min: 0.7}},
			variants: retries,
		},
		{
			name: "slow", about: "drain to a sink that answers after 10 ms, 256 requests at a time; ratios to the loop or to 25,600/s, whichever is less",
			baseline: "loop", subject: "eventd", measures: drainMeasures(), ceiling: slowSlots / slowDelay.Seconds(),
			goals: []goal{{key: kRate, ratio: true, min: 0.95}},
			variants: func(b *bench) []variant {
				return drains(b.systems(false), order{workers: slowSlots, sink: []string{"-delay", slowDelay.String()}})
			},
		},
		{
			name: "backlog", about: "drain into a store that has finished events already, against an empty one beside a copy of it; finding one of them by its id",
			baseline: "empty", subject: "stored", measures: append(drainMeasures(), findMeasures()...),
			goals:    []goal{{key: kRate, ratio: true, min: 0.9}, {key: kFind, max: 1}},
			variants: backlogs,
		},
		{
			name: "start", about: "from exec to ready, with an empty store and with the one of backlog",
			subject: "stored", measures: []measure{{key: kReady, title: "s to ready", digits: 3}, {key: kRSS, title: "RSS when ready, MB"}},
			goals:    []goal{{key: kReady, variant: "empty", max: 0.3}, {key: kReady, max: 2}},
			variants: starts,
		},
	}
}

func drains(systems []system, o order) []variant {
	return eachSystem(systems, func(ctx context.Context, w *world, s system) (sample, error) { return w.drain(ctx, s, o) })
}

func latencies(systems []system, rate int) []variant {
	return eachSystem(systems, func(ctx context.Context, w *world, s system) (sample, error) { return w.latency(ctx, s, rate) })
}

func eachSystem(systems []system, run func(context.Context, *world, system) (sample, error)) (list []variant) {
	for _, s := range systems {
		list = append(list, variant{s.name(), func(ctx context.Context, w *world) (sample, error) { return run(ctx, w, s) }})
	}
	return list
}

// followUps compares the loop, which has nothing to publish, with every eventd.
func followUps(b *bench) []variant {
	list := drains([]system{loop{}}, order{workers: b.workers})
	o := order{workers: b.workers, sink: []string{"-reply"}, followUp: true, untilCompleted: true}
	return append(list, drains(b.eventds(), o)...)
}

func retries(b *bench) []variant {
	calm := order{workers: b.workers, retryDelay: 100 * time.Millisecond, untilCompleted: true}
	failing := calm
	failing.failEvery = failEvery
	return []variant{
		{"none fails", func(ctx context.Context, w *world) (sample, error) { return w.drain(ctx, b.own(), calm) }},
		{"20% fail once", func(ctx context.Context, w *world) (sample, error) { return w.drain(ctx, b.own(), failing) }},
	}
}
