package router_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// TestManyAreTakenUp routes many events that had no route, with a restart in the
// middle of it: each is handled once, and the log says how far it is.
// EVENTD_TAKEUP_EVENTS says how many.
func TestManyAreTakenUp(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("EVENTD_TAKEUP_EVENTS"))
	if err != nil {
		n = 12_000
	}
	var mu sync.Mutex
	calls := map[uint64]int{}
	h := handlerTo("h", deliver(func(_ context.Context, a *event.Attempt) event.Answer {
		mu.Lock()
		defer mu.Unlock()
		calls[a.Event.Seq]++
		return done
	}))
	x := newRig(t, router.Config{})
	for i := 0; i < n; i += 500 {
		var list []event.Message
		for k := range 500 {
			list = append(list, message(fmt.Sprint("e", i+k), "A", "{}"))
		}
		x.accept(list...)
	}
	left := func(db *storage.DB) int { return db.Counts()[event.Inbound][event.Error] }
	x.reload(only(h))
	until(t, "some are taken up", func() bool { return left(x.store) < n })
	x.stop(patience)
	if left(x.store) == 0 {
		t.Fatal("all were taken up before the restart: it shows nothing")
	}
	began := time.Now()
	db, out := takeUpAgain(t, copyOf(t, x.path), only(h))
	until(t, "all are handled", func() bool { return db.Counts()[event.Inbound][event.Completed] == n })
	until(t, "the log says so", func() bool { return strings.Contains(out(), "are taken up again") })
	if !strings.Contains(out(), `"looked_at":`) {
		t.Errorf("the log says nothing of the progress: %s", out())
	}
	t.Logf("%d events; after the restart it took %s: %s", n, time.Since(began).Round(time.Millisecond), out())
	for seq, c := range calls {
		if c != 1 {
			t.Errorf("event %d was handed over %d times", seq, c)
		}
	}
}

// takeUpAgain opens a store with a router that writes a log.
func takeUpAgain(t *testing.T, path string, c router.Config) (*storage.DB, func() string) {
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	w := writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	})
	r, err := router.New(router.Options{Service: "SERVICE_A", Store: db, Observer: noObserver{}, Log: zerolog.New(w).Level(zerolog.InfoLevel)}, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.Stop(ctx)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, func() string {
		mu.Lock()
		defer mu.Unlock()
		return log.String()
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
