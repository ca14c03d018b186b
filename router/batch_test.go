package router_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
)

// TestSilentAnswers say nothing of the handler: ten events that fail in one
// request are one failure, and a handler that is gone says so once.
func TestSilentAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls := 0
		answer := again
		d := deliver(func(context.Context, *event.Attempt) event.Answer {
			mu.Lock()
			defer mu.Unlock()
			a := answer
			a.Silent = calls%10 != 9 // the last of each ten speaks
			calls++
			return a
		})
		count := func() int { mu.Lock(); defer mu.Unlock(); return calls }
		h := withPolicy(withConcurrency(handlerTo("h", d), 10), retry.Policy{Backoff: retry.Constant, Initial: time.Second})
		h.Breaker = &router.Breaker{Failures: 3, Open: time.Hour}
		x := newRig(t, only(h))
		x.accept(batchOf(10)...)
		advance(1500 * time.Millisecond)
		if i, calls := x.info("h"), count(); calls != 20 || !i.BreakerUntil.IsZero() {
			t.Errorf("%d events failed in two requests, breaker open until %s; want 20 and closed", calls, i.BreakerUntil)
		}
		advance(time.Second)
		if i, calls := x.info("h"), count(); calls != 30 || i.BreakerUntil.IsZero() {
			t.Errorf("%d events failed in three requests, breaker open until %s; want 30 and open", calls, i.BreakerUntil)
		}
		silent := event.Answer{Outcome: event.Never, Reason: event.Gone, Pause: true, Silent: true}
		y := newRig(t, only(handlerTo("h", &script{answers: []event.Answer{silent}})))
		y.accept(message("e1", "A", "{}"))
		synctest.Wait()
		if i := y.info("h"); i.Paused {
			t.Errorf("after a silent answer the handler is %+v; want it at work", i)
		}
	})
}

// patientOne holds attempts back until it is told to hurry.
type patientOne struct{ hurry chan struct{} }

func (p *patientOne) Hurry() { close(p.hurry) }

func (p *patientOne) Deliver(ctx context.Context, _ *event.Attempt) event.Answer {
	select {
	case <-p.hurry:
		return done
	case <-ctx.Done():
		return abandoned
	}
}

// TestStopHurries: an orderly end does not wait for company, nor cost an attempt.
func TestStopHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(handlerTo("h", &patientOne{hurry: make(chan struct{})})))
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		x.stop(time.Minute)
		if rec := x.find("e1"); rec.Status != event.Completed {
			t.Errorf("after the stop it is %s %s; want COMPLETED", rec.Status, rec.Reason)
		}
	})
}

// TestInterruptedGoesAlone: after a crash each event says that it was in flight.
func TestInterruptedGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		x := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", gate), 4), patient)))
		synctest.Wait()
		x.accept(message("e1", "A", "{}"))
		if gate.next(t).Alone {
			t.Error("at first it goes alone")
		}
		synctest.Wait()
		h := &script{answers: []event.Answer{again, again, done}}
		y := x.crash(only(withPolicy(handlerTo("h", h), patient)))
		advance(3 * time.Second)
		if y.await("e1", event.Completed); h.count() != 2 || !h.calls[0].Alone || h.calls[1].Alone {
			t.Errorf("%+v; want the first attempt after the crash alone, the next not", h.calls)
		}
	})
}

// TestBytesInSlots: no more begins than may be carried at once.
func TestBytesInSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		h := withConcurrency(handlerTo("h", gate), 50)
		h.Bytes = 1000
		x := newRig(t, only(h))
		synctest.Wait()
		payload := strings.Repeat("x", 300)
		for i := range 20 {
			x.accept(message(fmt.Sprint("e", i), "A", payload))
			synctest.Wait()
		}
		for n := 20; n > 0; n-- {
			if i := x.info("h"); i.InFlight != min(n, 4) {
				t.Fatalf("%d of %d are in flight; want 4 with 300 bytes each", i.InFlight, n)
			}
			<-gate.entered
			gate.answers <- done
			synctest.Wait()
		}
		if n := x.store.Counts()[event.Inbound][event.Completed]; n != 20 {
			t.Errorf("%d are COMPLETED; want 20", n)
		}
	})
}

// company holds attempts until they are withdrawn.
type company struct {
	mu    sync.Mutex
	over  chan struct{}
	calls int
}

func (c *company) Withdraw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.over)
	c.over = make(chan struct{})
}

func (c *company) Deliver(ctx context.Context, _ *event.Attempt) event.Answer {
	c.mu.Lock()
	c.calls++
	over := c.over
	c.mu.Unlock()
	select {
	case <-over:
		return event.Answer{Outcome: event.Unsent}
	case <-ctx.Done():
		return abandoned
	}
}

// TestWhatWaitsForCompanyIsWithdrawn when its handler takes nothing any more: no
// attempt is counted, and it begins again when the handler does.
func TestWhatWaitsForCompanyIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &company{over: make(chan struct{})}
		x := newRig(t, only(withConcurrency(handlerTo("h", c), 10)))
		synctest.Wait()
		x.accept(batchOf(5)...)
		synctest.Wait()
		x.pause("h", true)
		advance(time.Minute)
		for _, rec := range x.all() {
			if d := rec.Deliveries[0]; d.Status != event.Unprocessed || d.Attempts != 0 || !d.FirstAttempt.IsZero() {
				t.Errorf("%s is %s with %d attempts; want UNPROCESSED with none", rec.ID, d.Status, d.Attempts)
			}
		}
		if i := x.info("h"); c.calls != 5 || i.InFlight != 0 {
			t.Errorf("%d began and %d are in flight; want 5, 0", c.calls, i.InFlight)
		}
		x.pause("h", false)
		synctest.Wait()
		if i := x.info("h"); c.calls != 10 || i.InFlight != 5 {
			t.Errorf("after the pause %d began and %d are in flight; want 10, 5", c.calls, i.InFlight)
		}
	})
}
