// Command bench measures eventd against the loop that people write by hand:
// a JetStream pull consumer, an HTTP POST, an ack.
//
//	go run ./bench                       three interleaved rounds of 50,000 messages
//	go run ./bench -messages 300000 -rounds 5
//
// Everything runs as processes of this machine on loopback: a NATS server with
// files, a sink that answers 200 at once, and in turn the loop and eventd, each
// of which drains the same number of messages that are already in the stream.
// The time is that between the first and the last request at the sink. Only the
// ratio within one run says something: absolute figures drift from day to day.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// options of a run.
type options struct {
	messages, size, rounds, workers int
	dir                             string
}

func main() {
	os.Exit(execute())
}

func execute() (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if part, ok := parts[args[0]]; ok {
			return part(ctx, args[1:])
		}
	}
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.messages, "messages", 50_000, "messages in each round")
	f.IntVar(&o.size, "size", 1024, "bytes of a message")
	f.IntVar(&o.rounds, "rounds", 3, "rounds of each")
	f.IntVar(&o.workers, "workers", 64, "POSTs at the same time")
	minimum := f.Float64("min-ratio", 0, "fail when eventd's median is below this share of the loop's")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	dir, err := os.MkdirTemp("", "eventd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.dir = dir
	results, err := measure(ctx, o)
	if err != nil {
		return err
	}
	ratio := report(o, results)
	if ratio < *minimum {
		return fmt.Errorf("eventd drains at %.2f of the loop; want at least %.2f", ratio, *minimum)
	}
	return nil
}

// result is one system in one round.
type result struct {
	rate float64 // events/s
	cpu  float64 // CPU seconds for 100,000 events
	rss  float64 // peak resident memory, MB
	file float64 // bytes on disk for an event; 0 for the loop
}

func measure(ctx context.Context, o options) (map[string][]result, error) {
	fmt.Fprintln(os.Stderr, "building…")
	tools, err := buildTools(ctx, o.dir)
	if err != nil {
		return nil, err
	}
	results := map[string][]result{}
	for round := range o.rounds {
		for _, system := range []string{"loop", "eventd"} {
			w := &world{options: o, tools: tools, dir: filepath.Join(o.dir, fmt.Sprint(system, round))}
			r, err := w.drain(ctx, system)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", system, round+1, err)
			}
			fmt.Fprintf(os.Stderr, "round %d/%d %-7s %8.0f events/s\n", round+1, o.rounds, system, r.rate)
			results[system] = append(results[system], r)
		}
	}
	return results, nil
}

// report prints the medians and returns eventd's share of the loop's rate.
func report(o options, results map[string][]result) float64 {
	fmt.Printf("%d messages of %d bytes, %d workers, %d interleaved rounds, medians\n\n", o.messages, o.size, o.workers, o.rounds)
	t := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "system\tevents/s\tof the loop\tspread\tCPU s per 100,000\tpeak RSS MB\tfile bytes per event\t")
	loop := median(results["loop"], rate)
	for _, system := range []string{"loop", "eventd"} {
		list := results[system]
		rates := values(list, rate)
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.2f–%.2f\t%.1f\t%.0f\t%.0f\t\n", system, median(list, rate), median(list, rate)/loop,
			rates[0]/loop, rates[len(rates)-1]/loop, median(list, func(r result) float64 { return r.cpu }),
			median(list, func(r result) float64 { return r.rss }), median(list, func(r result) float64 { return r.file }))
	}
	t.Flush()
	return median(results["eventd"], rate) / loop
}

func rate(r result) float64 { return r.rate }

func values(list []result, of func(result) float64) []float64 {
	v := make([]float64, len(list))
	for i, r := range list {
		v[i] = of(r)
	}
	slices.Sort(v)
	return v
}

func median(list []result, of func(result) float64) float64 {
	v := values(list, of)
	return v[len(v)/2]
}

// patience bounds one round.
const patience = 3 * time.Minute
