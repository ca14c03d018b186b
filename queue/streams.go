package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stream is a stream to be made if it is missing.
type Stream struct {
	Name     string
	Subjects []string
	MaxAge   time.Duration // 0 keeps messages for ever
	Replicas int
}

// SetStreams replaces the streams that have to be there, and makes those that
// are missing as soon as there is a connection.
func (c *Conn) SetStreams(_ context.Context, streams []Stream) {
	c.mu.Lock()
	c.streams = streams
	c.mu.Unlock()
	c.ensureSoon()
}

func (c *Conn) ensureSoon() {
	select {
	case c.rebuild <- struct{}{}:
	default:
	}
}

// ensureLoop makes missing streams after each connect, and tries again while
// it cannot.
func (c *Conn) ensureLoop() {
	retry := time.NewTimer(0)
	defer retry.Stop()
	last := ""
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.rebuild:
		case <-retry.C:
		}
		if !c.Connected() {
			continue
		}
		ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
		err := c.ensureStreams(ctx)
		cancel()
		if err == nil {
			last = ""
			continue
		}
		retry.Reset(5 * time.Second)
		if c.ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			c.log.Error().Err(err).Msg("streams cannot be made; trying again")
		}
	}
}

// ensureStreams makes the streams that are missing. One that is there is left
// as it is.
func (c *Conn) ensureStreams(ctx context.Context) error {
	c.ensuring.Lock() // not twice at the same time
	defer c.ensuring.Unlock()
	c.mu.Lock()
	list := c.streams
	c.mu.Unlock()
	var failures []error
	for _, s := range list {
		if err := c.ensureStream(ctx, s); err != nil {
			failures = append(failures, fmt.Errorf("stream %s: %w", s.Name, err))
		}
	}
	return errors.Join(failures...)
}

func (c *Conn) ensureStream(ctx context.Context, s Stream) error {
	found, err := c.js.Stream(ctx, s.Name)
	if err == nil {
		c.compareStream(s, found.CachedInfo().Config)
		return nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = c.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxAge: s.MaxAge, Replicas: max(s.Replicas, 1),
		Description: "made by eventd",
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil // someone else was quicker
	}
	if err == nil {
		c.log.Info().Str("stream", s.Name).Strs("subjects", s.Subjects).Msg("stream made")
	}
	return err
}

// compareStream says what differs from the configuration, and changes nothing.
func (c *Conn) compareStream(s Stream, is jetstream.StreamConfig) {
	want, have := slices.Sorted(slices.Values(s.Subjects)), slices.Sorted(slices.Values(is.Subjects))
	if !slices.Equal(want, have) || s.MaxAge != is.MaxAge || max(s.Replicas, 1) != is.Replicas {
		c.log.Warn().Str("stream", s.Name).Strs("subjects", have).Strs("configured", want).
			Str("max_age", is.MaxAge.String()).Str("configured_max_age", s.MaxAge.String()).
			Int("replicas", is.Replicas).Int("configured_replicas", max(s.Replicas, 1)).
			Msg("stream differs from the configuration and is left as it is")
	}
}
