package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/queue"
)

// sources are the sources that run, by name. Whoever changes them, or one of them,
// holds switching, also while he waits for the store or for the end of a source;
// those who look at them need only mu, which nobody holds for long.
type sources struct {
	switching sync.Mutex

	mu   sync.Mutex
	list map[string]*runningSource
}

type runningSource struct {
	*queue.Source
	options queue.SourceOptions
	cancel  context.CancelFunc
	done    chan struct{}
}

// end stops a source and waits until what it has accepted is acknowledged.
func (s *runningSource) end() {
	s.cancel()
	<-s.done
}

func (d *Daemon) startSources(_ context.Context, c *config.Config) error {
	d.onStop("sources", func(context.Context) error { d.endSources(); return nil })
	wanted, err := translateSources(c)
	if err != nil {
		return err
	}
	d.applySources(wanted)
	d.holdSources()
	return nil
}

// holdSources keeps sources from pulling while the store takes no new events.
func (d *Daemon) holdSources() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			d.sources.mu.Lock()
			for _, s := range d.sources.list {
				s.Hold(d.store.Full())
			}
			d.sources.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-d.store.FullChanged():
			}
		}
	}()
	d.onStop("holding of sources", func(context.Context) error { cancel(); <-done; return nil })
}

// wantedSource is a source as it is configured.
type wantedSource struct {
	options queue.SourceOptions
	checks  queue.Checks
}

func translateSources(c *config.Config) (map[string]wantedSource, error) {
	wanted, from := make(map[string]wantedSource, len(c.Sources)), make(schemas)
	for name, s := range c.Sources {
		o, err := translateSource(c, name, s)
		if err != nil {
			return nil, err
		}
		checks, err := checksOf(name, &s, from)
		if err != nil {
			return nil, err
		}
		wanted[name] = wantedSource{o, checks}
	}
	return wanted, nil
}

// applySources starts what is new, ends what is gone, and restarts what changed.
// What messages have to stand changes while a source runs.
func (d *Daemon) applySources(wanted map[string]wantedSource) {
	d.sources.switching.Lock()
	defer d.sources.switching.Unlock()
	running := d.runningSources()
	for name, s := range running {
		if w, ok := wanted[name]; !ok || w.options != s.options {
			s.end()
		} else {
			delete(running, name)
		}
	}
	d.sources.mu.Lock()
	defer d.sources.mu.Unlock()
	if d.sources.list == nil {
		d.sources.list = make(map[string]*runningSource)
	}
	for name := range running {
		delete(d.sources.list, name)
	}
	for name, w := range wanted {
		if s := d.sources.list[name]; s != nil {
			s.SetChecks(w.checks)
		} else {
			d.sources.list[name] = d.runSource(w)
		}
	}
}

func (d *Daemon) runSource(w wantedSource) *runningSource {
	o := w.options
	ctx, cancel := context.WithCancel(context.Background())
	s := &runningSource{Source: d.conn.NewSource(o, d.router, d.store), options: o, cancel: cancel, done: make(chan struct{})}
	s.SetChecks(w.checks)
	if d.store.Paused("source", o.Name) != "" {
		s.Pause()
	}
	s.Hold(d.store.Full())
	go func() {
		defer close(s.done)
		if err := s.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			d.log.Error().Err(err).Str("source", o.Name).Msg("source ended")
		}
	}()
	return s
}

func (d *Daemon) endSources() {
	d.sources.switching.Lock()
	defer d.sources.switching.Unlock()
	running := d.runningSources()
	for _, s := range running {
		s.cancel()
	}
	for _, s := range running {
		<-s.done
	}
	d.sources.mu.Lock()
	defer d.sources.mu.Unlock()
	d.sources.list = nil
}

// runningSources returns a copy of the list.
func (d *Daemon) runningSources() map[string]*runningSource {
	d.sources.mu.Lock()
	defer d.sources.mu.Unlock()
	list := make(map[string]*runningSource, len(d.sources.list))
	maps.Copy(list, d.sources.list)
	return list
}

func (d *Daemon) sourceInfos() []event.SourceInfo {
	d.sources.mu.Lock()
	defer d.sources.mu.Unlock()
	list := make([]event.SourceInfo, 0, len(d.sources.list))
	for _, name := range slices.Sorted(maps.Keys(d.sources.list)) {
		list = append(list, d.sources.list[name].Info())
	}
	return list
}

// SetSourcePaused pauses a source, over restarts, until it is resumed. What it
// has pulled is still accepted. Errors: [event.ErrNotFound]; [event.ErrUnavailable]
// when the store has no space for it.
func (d *Daemon) SetSourcePaused(ctx context.Context, name string, paused bool) error {
	d.sources.switching.Lock()
	defer d.sources.switching.Unlock()
	s := d.runningSources()[name]
	if s == nil {
		return fmt.Errorf("source %q: %w", name, event.ErrNotFound)
	}
	if !paused {
		if err := d.store.SetPaused(ctx, "source", name, ""); err != nil {
			return err
		}
		s.Resume()
		return nil
	}
	if err := d.store.SetPaused(ctx, "source", name, "manual"); err != nil {
		return err
	}
	s.Pause()
	return nil
}

// SetHandlerPaused pauses or resumes a handler: see [router.Router.SetHandlerPaused].
func (d *Daemon) SetHandlerPaused(ctx context.Context, name string, paused bool) error {
	return d.router.SetHandlerPaused(ctx, name, paused)
}
