package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// system is who takes messages from the stream and POSTs them to the sink.
type system interface {
	name() string
	// start begins work on the world's stream. The world ends the process.
	start(w *world, o order) (*running, error)
}

// order is what a scenario asks of a drain. What goes beyond workers and the
// sink is for eventd alone.
type order struct {
	workers        int           // requests at the same time
	sink           []string      // arguments of the sink
	failEvery      int           // the sink answers 503 once to one in so many; 0: to none
	retryDelay     time.Duration // the policy is this constant delay; 0: the default one
	followUp       bool          // answers carry an event, which is published
	untilCompleted bool          // the rate is until all is recorded, not until the last request
	data           string        // folder of the store; "" is a new one
}

// running is a system under test.
type running struct {
	*process
	api     string // URL; "" for others than eventd
	metrics string // URL
	data    string // folder of its files
}

// loop is what one would write instead.
type loop struct{}

func (loop) name() string { return "loop" }

func (loop) start(w *world, o order) (*running, error) {
	p, err := w.part("loop", "-nats", w.nats, "-sink", w.sink, "-workers", fmt.Sprint(o.workers))
	return &running{process: p}, err
}

// watermill is its JetStream subscriber, its router and its HTTP publisher.
type watermill struct{}

func (watermill) name() string { return "watermill" }

func (watermill) start(w *world, o order) (*running, error) {
	p, err := w.part("watermill", "-nats", w.nats, "-sink", w.sink, "-workers", fmt.Sprint(o.workers))
	return &running{process: p}, err
}

// eventd is a build of eventd, with its defaults.
type eventd struct{ label, binary string }

func (e eventd) name() string { return e.label }

func (e eventd) start(w *world, o order) (*running, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	r := &running{api: "http://" + ports[0], metrics: "http://" + ports[1], data: o.data}
	if r.data == "" {
		r.data = filepath.Join(w.dir, "data")
	}
	file := filepath.Join(w.dir, "routes.yaml")
	if err := os.WriteFile(file, []byte(configure(w, o, r.data, ports)), 0o600); err != nil {
		return nil, err
	}
	r.process, err = w.spawn(e.label, nil, e.binary, "-config", file)
	return r, err
}

// configure writes eventd's configuration file. STORED are the events of the
// backlog, which are finished as soon as they are stored.
func configure(w *world, o order, data string, ports []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "service: BENCH\ndata_dir: %s\nlog: {level: warn}\n", data)
	b.WriteString("store: {max_size: unlimited}\n") // the backlog is larger than the default allows
	fmt.Fprintf(&b, "nats: {url: \"nats://%s\"}\nadmin: {listen: %q}\nmetrics: {listen: %q}\n", w.nats, ports[0], ports[1])
	fmt.Fprintf(&b, "sources:\n  in: {stream: %s, subject: %s}\n", streamName, subjectIn)
	if o.retryDelay > 0 {
		fmt.Fprintf(&b, "retry:\n  default: {backoff: constant, initial: %s, jitter: 0}\n", o.retryDelay)
	}
	fmt.Fprintf(&b, "handlers:\n  sink: {http: \"%s/\", concurrency: %d}\n  done: {log: {}}\n", w.sink, o.workers)
	if o.followUp {
		fmt.Fprintf(&b, "  out: {topic: %s}\n", subjectOut)
	}
	b.WriteString("routes:\n  - {message_type: RQ_A_INIT, handler: sink}\n  - {message_type: STORED, handler: done}\n")
	if o.followUp {
		b.WriteString("  - {message_type: RQ_B, table: request, handler: out}\n")
	}
	return b.String()
}
