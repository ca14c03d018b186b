package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/eventd-io/eventd/event"
)

// OutboxStore keeps what is to be published until it is.
type OutboxStore interface {
	// Outbox returns publications in their order, those behind the one with
	// the given ID.
	Outbox(ctx context.Context, after uint64, limit int) ([]event.Publication, error)
	// Published removes publications for good.
	Published(ctx context.Context, ids []uint64) error
}

const (
	outboxPage   = 256
	outboxPause  = time.Second // after a failure
	outboxExpiry = 10 * time.Second
)

// DrainOutbox publishes what is in the outbox, and what comes to it, until ctx
// ends. A row is removed after its PubAck. What cannot be published stays and is
// tried again; a message that is too large goes without its body.
func (c *Conn) DrainOutbox(ctx context.Context, store OutboxStore, wake <-chan struct{}) error {
	complained := false
	for {
		more, err := c.drainPage(ctx, store)
		pause := (<-chan time.Time)(nil)
		if err != nil && ctx.Err() == nil {
			if !complained {
				c.log.Warn().Err(err).Msg("outbox cannot be published; trying again until it can")
			}
			complained = true
			pause = time.After(outboxPause)
		} else {
			complained = false
		}
		if more && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause:
		case <-wake:
		}
	}
}

// drainPage publishes the oldest rows side by side and removes those that the
// server has. more says that there may be others.
func (c *Conn) drainPage(ctx context.Context, store OutboxStore) (more bool, err error) {
	rows, err := store.Outbox(ctx, 0, outboxPage)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	var (
		mu       sync.Mutex
		ids      []uint64
		failures []error
		wait     sync.WaitGroup
	)
	for i := range rows {
		wait.Go(func() {
			err := c.publishRow(ctx, rows[i])
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
				return
			}
			ids = append(ids, rows[i].ID)
		})
	}
	wait.Wait()
	if len(ids) > 0 {
		if err := store.Published(context.WithoutCancel(ctx), ids); err != nil {
			return false, err
		}
	}
	if len(failures) > 0 {
		return false, failures[0]
	}
	return len(rows) == outboxPage, nil
}

func (c *Conn) publishRow(ctx context.Context, p event.Publication) error {
	ctx, cancel := context.WithTimeout(ctx, outboxExpiry)
	defer cancel()
	err := c.Publish(ctx, messageOf(&p))
	var refusal *publishError
	if errors.As(err, &refusal) && refusal.TooLarge() {
		p = withoutBody(p)
		return c.Publish(ctx, messageOf(&p))
	}
	return err
}

func messageOf(p *event.Publication) *event.NATSMessage {
	m := &event.NATSMessage{Subject: p.Subject, Body: p.Body}
	for name, value := range p.Header {
		m.Header = append(m.Header, event.Field{Name: name, Value: value})
	}
	return m
}

// withoutBody says where the body is instead of carrying it.
func withoutBody(p event.Publication) event.Publication {
	p.Header = maps.Clone(p.Header)
	p.Header["eventd-payload"] = fmt.Sprintf("omitted: %d bytes; GET /v1/events/%s/payload", len(p.Body), p.Header["eventd-event-id"])
	p.Body = nil
	return p
}
