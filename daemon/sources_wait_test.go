package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/queue"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// TestSourcesCanBeLookedAtWhileTheyChange: whoever asks how sources stand does not
// wait with those who change them, for the end of a source or for the store.
func TestSourcesCanBeLookedAtWhileTheyChange(t *testing.T) {
	ctx := context.Background()
	store, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), StoreFile)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	conn, err := queue.Open(ctx, queue.Options{Name: "test", Embedded: &queue.Embedded{Dir: t.TempDir()}, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	s := &runningSource{
		Source: conn.NewSource(queue.SourceOptions{Name: "s"}, nil, store), cancel: func() {}, done: make(chan struct{}),
	}
	d := &Daemon{store: store, sources: sources{list: map[string]*runningSource{"s": s}}}

	held, release := make(chan struct{}), make(chan struct{})
	stored := make(chan error, 1)
	go func() { stored <- store.Update(ctx, occupied(t, store, held, release)) }()
	select {
	case <-held:
	case err := <-stored:
		t.Fatal(err)
	}
	changed := make(chan error, 1)
	go func() { changed <- d.SetSourcePaused(ctx, "s", true) }()
	looks(t, d, &d.sources)
	close(release)
	if err := errors.Join(<-stored, <-changed); err != nil {
		t.Error(err)
	}
	if list := d.sourceInfos(); len(list) != 1 || !list[0].Paused || store.Paused("source", "s") == "" {
		t.Errorf("sources = %+v; want one that is paused", list)
	}

	for name, change := range map[string]func(){"reload": func() { d.applySources(nil) }, "stop": d.endSources} {
		s.done = make(chan struct{})
		d.sources.list = map[string]*runningSource{"s": s}
		ended := make(chan struct{})
		go func() { defer close(ended); change() }()
		looks(t, d, &d.sources)
		close(s.done)
		<-ended
		if list := d.sourceInfos(); len(list) != 0 {
			t.Errorf("sources after a %s = %+v; want none", name, list)
		}
	}
}

// occupied returns a step that keeps the store's writer busy.
func occupied(t *testing.T, store *storage.DB, held, release chan struct{}) *event.Update {
	t.Helper()
	a := &event.Admission{Event: &event.Event{ID: "e", Table: event.Inbound, CreatedAt: time.Now()}, State: event.State{
		Status: event.Unprocessed, Deliveries: []event.Delivery{{Handler: "h", Status: event.Unprocessed}},
	}}
	if err := store.Accept(context.Background(), []*event.Admission{a}); err != nil {
		t.Fatal(err)
	}
	return &event.Update{Seq: a.Event.Seq, Step: func(*event.State) (*event.Effects, error) {
		close(held)
		<-release
		return nil, nil
	}}
}

// looks waits until someone changes sources and holds that they can be looked at.
func looks(t *testing.T, d *Daemon, s *sources) {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for s.switching.TryLock() {
		s.switching.Unlock()
		select {
		case <-deadline:
			t.Fatal("nobody changes sources")
		case <-time.After(time.Millisecond):
		}
	}
	done := make(chan int, 1)
	go func() { done <- len(d.sourceInfos()) }()
	select {
	case n := <-done:
		if n != 1 {
			t.Errorf("%d sources; want 1", n)
		}
	case <-deadline:
		t.Fatal("sources cannot be looked at while they change")
	}
}
