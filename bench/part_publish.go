package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publisher sends on a schedule, whatever the server or the system under test
// does. A message says when it was meant to be sent; it is that time which
// latency counts from, so that a publisher or a system that stalls does not hide
// the wait of those that should have been sent meanwhile.
type publisher struct {
	js     jetstream.JetStream
	size   int
	behind *hdrhistogram.Histogram // ns
}

// window is how many messages may wait for the server's confirmation: enough
// that a stall of seconds does not hold the schedule up.
const window = 200_000

func runPublisher(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("publish", flag.ContinueOnError)
	url := f.String("nats", "", "address")
	rate, size := f.Int("rate", 1000, "messages/s"), f.Int("size", 1024, "bytes")
	warmup, load := f.Duration("warmup", 0, "not counted"), f.Duration("load", 0, "counted")
	if err := f.Parse(args); err != nil {
		return err
	}
	var failed atomic.Int64
	nc, err := nats.Connect("nats://" + *url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(window),
		jetstream.WithPublishAsyncErrHandler(func(jetstream.JetStream, *nats.Msg, error) { failed.Add(1) }))
	if err != nil {
		return err
	}
	p := &publisher{js: js, size: *size, behind: newHistogram()}
	did, err := p.run(ctx, *rate, *warmup, *load)
	if err != nil {
		return err
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	did.Failed = int(failed.Load())
	return json.NewEncoder(os.Stdout).Encode(did)
}

func (p *publisher) run(ctx context.Context, rate int, warmup, load time.Duration) (did published, err error) {
	plan := schedule{start: time.Now(), rate: rate}
	cold := plan.count(warmup)
	did.Sent = plan.count(warmup + load)
	did.Timed = did.Sent - cold
	var counted time.Time
	for n := range did.Sent {
		at := plan.at(n)
		awaitTime(at)
		if err := ctx.Err(); err != nil {
			return did, err
		}
		stamp := int64(0)
		if n >= cold {
			stamp = at.UnixNano()
			_ = p.behind.RecordValue(time.Since(at).Nanoseconds())
		}
		if n == cold {
			counted = time.Now()
		}
		if _, err := p.js.PublishAsync(subjectIn, appendMessage(nil, n, stamp, p.size)); err != nil {
			return did, err
		}
	}
	did.PerSecond = float64(did.Timed-1) / time.Since(counted).Seconds()
	did.BehindP99 = milliseconds(p.behind.ValueAtQuantile(99))
	return did, nil
}

// schedule is when which message is meant to be sent.
type schedule struct {
	start time.Time
	rate  int // messages/s
}

// at is the intended time of the n-th message. It has no rounding that adds up.
func (s schedule) at(n int) time.Time {
	return s.start.Add(time.Duration(float64(n) * float64(time.Second) / float64(s.rate)))
}

// count is how many messages are sent in so much time.
func (s schedule) count(d time.Duration) int { return int(d.Seconds() * float64(s.rate)) }

// awaitTime returns at that time or after it; at once when it has passed.
func awaitTime(at time.Time) {
	for {
		left := time.Until(at)
		if left <= 0 {
			return
		}
		pause(left)
	}
}
