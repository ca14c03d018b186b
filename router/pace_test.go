package router_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

const flood = 300

// flowing is a router whose handler h answered 240 events in no time and holds
// all others; the handler idle has nothing to do.
func flowing(t *testing.T) (*rig, *stalling) {
	t.Helper()
	h := newStalling()
	x := newRig(t, router.Config{
		Routes:   []router.Route{route("OTHER", "idle"), route("*", "h")},
		Handlers: []router.Handler{withConcurrency(handlerTo("h", h), slots), handlerTo("idle", &script{})},
	})
	synctest.Wait()
	for i := range 240 {
		x.accept(message(fmt.Sprint("quick", i), "QUICK", "{}"))
		synctest.Wait()
	}
	return x, h
}

// pour lets a source deliver more than the handler takes. The channel is closed
// when all of it is accepted.
func pour(x *rig, more ...event.Message) <-chan struct{} {
	batch := more
	for i := range flood {
		m := message(fmt.Sprint("e", i), "HELD", "{}")
		m.Source = "in"
		batch = append(batch, m)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if receipts, err := x.Accept(context.Background(), batch); err != nil || len(receipts) != len(batch) {
			x.t.Errorf("%d receipts, %v; want %d", len(receipts), err, len(batch))
		}
	}()
	synctest.Wait()
	return accepted
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestSourceWaitsForAHandlerThatFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, h := flowing(t)
		defer x.stop(time.Millisecond)
		accepted := pour(x)
		stored := len(shapesOf(x, "HELD"))
		if closed(accepted) || stored < slots+200 || stored >= flood {
			t.Fatalf("accepted %t, %d stored; want not, and as many as there is room for", closed(accepted), stored)
		}
		for range stored * 2 / 3 { // until half of its room is free
			h.gate.next(t)
			h.gate.answers <- done
		}
		synctest.Wait()
		if !closed(accepted) {
			t.Error("the source still waits when there is room again")
		}
		if n := len(shapesOf(x, "HELD")); n != flood {
			t.Errorf("%d stored; want %d", n, flood)
		}
	})
}

func TestSourceDoesNotWaitForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := flowing(t)
		defer x.stop(time.Millisecond)
		accepted := pour(x)
		advance(250 * time.Millisecond)
		if n := len(shapesOf(x, "HELD")); !closed(accepted) || n != flood {
			t.Errorf("after 250ms accepted %t, %d stored; want true, %d", closed(accepted), n, flood)
		}
	})
}

// TestSharedSourceNeverWaits: what goes to another handler is not held up.
func TestSharedSourceNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := flowing(t)
		defer x.stop(time.Millisecond)
		other := message("other", "OTHER", "{}")
		other.Source = "in"
		if accepted := pour(x, other); !closed(accepted) {
			t.Error("a source of two handlers waits for one of them")
		}
		if rec := x.find("other"); rec.Status != event.Completed {
			t.Errorf("what goes to the other handler is %s; want COMPLETED", rec.Status)
		}
	})
}

// TestAPINeverWaits: only what stays in a stream meanwhile may wait.
func TestAPINeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := flowing(t)
		defer x.stop(time.Millisecond)
		start := time.Now()
		for i := range flood {
			x.accept(message(fmt.Sprint("e", i), "HELD", "{}"))
		}
		if n, took := len(shapesOf(x, "HELD")), time.Since(start); n != flood || took > 0 {
			t.Errorf("%d stored in %s; want %d, at once", n, took, flood)
		}
	})
}
