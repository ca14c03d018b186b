package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// stoppingStore begins to stop the daemon while a payload is read.
type stoppingStore struct {
	*storage.DB
	reads, at int
	stop      func() // returns when the router's context has ended
}

func (s *stoppingStore) Payload(ctx context.Context, seq uint64) ([]byte, error) {
	if s.reads++; s.reads == s.at {
		s.stop()
	}
	return s.DB.Payload(ctx, seq)
}

// TestStopInABatchOfARedrive stops while a batch is read: no event is passed over.
func TestStopInABatchOfARedrive(t *testing.T) {
	db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), "eventd.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	const events = 40
	store := &stoppingStore{DB: db, at: events / 4}
	r, err := router.New(router.Options{Service: "S", Store: store, Observer: noObserver{}, Log: zerolog.Nop()},
		router.Config{Routes: []router.Route{route("A", "h")}, Handlers: []router.Handler{handlerTo("h", &script{})}})
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	store.stop = func() {
		go func() { defer close(stopped); r.Stop(context.Background()) }()
		time.Sleep(100 * time.Millisecond) // Stop waits for this very batch
	}
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		m := message(fmt.Sprint("e", i), "A", "{}")
		m.Problem, m.Detail = event.Undecodable, "no JSON"
		if _, err := r.Accept(context.Background(), []event.Message{m}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond) // a redrive takes what was there before it
	j := event.Redrive{Filter: event.Filter{MessageType: "A"}}
	if err := r.StartRedrive(context.Background(), &j); err != nil {
		t.Fatal(err)
	}
	<-stopped
	got, err := r.ShowRedrive(context.Background(), j.ID)
	if err != nil || got.Failed != 0 || got.Skipped != 0 || got.State == event.RedriveCompleted && got.Done != events {
		t.Errorf("the redrive is %s, done %d, skipped %d, failed %d, %v; want none passed over", got.State, got.Done, got.Skipped, got.Failed, err)
	}
}
