package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// Processor says how [Client.Process] works.
type Processor struct {
	Handler string // the polled handler whose events are taken
	// Handle handles one event and returns its follow-up events. After an error
	// the event is tried again as the handler's retry policy says; after one made
	// by [Permanent] it is not. ctx ends when the processor stops, or when the
	// event has been given to someone else.
	Handle func(ctx context.Context, e *wire.Claimed) ([]wire.NewEvent, error)

	Concurrency int           // events at the same time; 1 when 0
	Lease       time.Duration // extended while Handle runs; 30s when 0
	OnError     func(error)   // is told what could not be claimed or reported; nil for nobody
}

// Permanent marks an error after which trying again would not help.
func Permanent(err error) error { return permanent{err} }

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

const (
	pollWait   = 20 * time.Second
	firstPause = 100 * time.Millisecond // after a claim that failed
	lastPause  = 10 * time.Second
	// reportGrace is how long a result may take to be reported when the processor
	// stops.
	reportGrace = 5 * time.Second
)

// Process claims and handles events until ctx ends. Then what runs is finished,
// or given back where Handle returns an error, and nil is returned.
func (c *Client) Process(ctx context.Context, p Processor) error {
	if p.Handler == "" || p.Handle == nil {
		return errors.New("a processor needs the name of a handler and a function")
	}
	if p.Lease <= 0 {
		p.Lease = 30 * time.Second
	}
	if p.OnError == nil {
		p.OnError = func(error) {}
	}
	var workers sync.WaitGroup
	for range max(p.Concurrency, 1) {
		workers.Go(func() { c.poll(ctx, &p) })
	}
	workers.Wait()
	return nil
}

// poll claims one event after the other.
func (c *Client) poll(ctx context.Context, p *Processor) {
	pause := firstPause
	for ctx.Err() == nil {
		claims, err := c.Claim(ctx, p.Handler, wire.Claim{Max: 1, Lease: p.Lease.String(), Wait: pollWait.String()})
		if err == nil {
			pause = firstPause
			for i := range claims {
				c.process(ctx, p, &claims[i])
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		p.OnError(fmt.Errorf("claim events of %s: %w", p.Handler, err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastPause)
	}
}

// process handles one event and reports what came of it.
func (c *Client) process(ctx context.Context, p *Processor, e *wire.Claimed) {
	handling, cancel := context.WithCancel(ctx)
	var heartbeat sync.WaitGroup
	heartbeat.Go(func() { c.keep(handling, cancel, p, e.ClaimID) })
	followUps, err := p.Handle(handling, e)
	lost := handling.Err() != nil && ctx.Err() == nil
	cancel()
	heartbeat.Wait()
	if lost {
		p.OnError(fmt.Errorf("event %s: its lease ran out while it was handled", e.Event.EventID))
		return
	}
	stopping := ctx.Err() != nil
	reporting, end := context.WithTimeout(context.WithoutCancel(ctx), reportGrace)
	defer end()
	if err := c.report(reporting, e.ClaimID, followUps, err, stopping); err != nil {
		p.OnError(fmt.Errorf("event %s: what came of it is not reported: %w", e.Event.EventID, err))
	}
}

func (c *Client) report(ctx context.Context, id string, followUps []wire.NewEvent, err error, stopping bool) error {
	if err == nil {
		return c.Complete(ctx, id, followUps...)
	}
	final := permanent{}
	retry := !errors.As(err, &final)
	if retry && stopping {
		return c.Release(ctx, id)
	}
	text := err.Error()
	return c.Fail(ctx, id, wire.ClaimFailure{Reason: text[:min(len(text), 8192)], Retry: &retry})
}

// keep extends the lease until ctx ends. Where the event has been given to
// someone else it cancels.
func (c *Client) keep(ctx context.Context, cancel context.CancelFunc, p *Processor, id string) {
	tick := time.NewTicker(p.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, err := c.Extend(ctx, id, p.Lease)
		var refused *Error
		if errors.As(err, &refused) && (refused.Status == http.StatusConflict || refused.Status == http.StatusNotFound) {
			cancel()
			return
		}
	}
}
