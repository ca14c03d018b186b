// Command bench measures eventd against what one would use instead: the loop
// that people write by hand (a JetStream pull consumer, an HTTP POST, an ack),
// watermill, and any system that an adapter file describes.
//
//	go run .                       drain: three interleaved rounds of 50,000 messages
//	go run . list                  the scenarios
//	go run . -rounds 5 all         everything
//
// # Invariants
//
//   - Everything runs as processes of its own on loopback, with new ports and a
//     new folder in every round: a NATS server with files, a sink, and one system
//     under test at a time. See [world].
//   - Rounds are interleaved: each goes through all variants before the next one
//     begins. Ratios are taken within a round, then their median over the rounds.
//     Absolute figures drift from day to day and say little.
//   - CPU and memory are those of the system under test alone.
//   - Every system goes through the same interface, [system].
//
// # Reading order
//
// scenario.go and scenarios.go (what is measured), system.go (on whom), drain.go
// and latency.go (how), world.go and process.go (with what), part_*.go (the
// processes), summary.go (what it comes to), text.go, markdown.go and svg.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(execute())
}

func execute() (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string) error {
	if len(args) > 1 && args[0] == "part" {
		return runPart(ctx, args[1], args[2:])
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.list {
		return list(os.Stdout)
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	results, err := b.measure(ctx)
	if err != nil {
		return err
	}
	r := summarize(o, results)
	if err := publish(o, r); err != nil {
		return err
	}
	return guard(o.minRatio, r)
}

// publish writes the report to wherever it was asked for.
func publish(o *options, r *summary) error {
	if err := writeText(os.Stdout, r); err != nil {
		return err
	}
	outputs := []struct {
		file  string
		write func(string, *summary) error
	}{{o.jsonFile, writeJSON}, {o.svgFile, writeSVG}, {o.markdownFile, writeMarkdown}}
	for _, out := range outputs {
		if out.file == "" {
			continue
		}
		if err := out.write(out.file, r); err != nil {
			return err
		}
	}
	return nil
}
