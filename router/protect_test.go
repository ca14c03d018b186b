package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// outage answers with failures until a time, and notes when it was called.
type outage struct {
	mu    sync.Mutex
	until time.Time
	calls []time.Time
}

func (o *outage) Deliver(context.Context, *event.Attempt) event.Answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, time.Now())
	if time.Now().Before(o.until) {
		return again
	}
	return done
}

// within returns the most calls in any span of time.
func (o *outage) within(span time.Duration) (most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	from := 0
	for i, at := range o.calls {
		for at.Sub(o.calls[from]) >= span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func batchOf(n int) (list []event.Message) {
	for i := range n {
		list = append(list, message(fmt.Sprint("e", i), "A", "{}"))
	}
	return list
}

// TestBreakerSparesAHandlerThatIsDown: nothing but a trial now and then is charged
// while it is, and all is handled when it is back.
func TestBreakerSparesAHandlerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, failures = 200, 5
		h := &outage{until: time.Now().Add(time.Minute)}
		down := withPolicy(withConcurrency(handlerTo("h", h), 2), retry.Policy{Backoff: retry.Constant, Initial: time.Second})
		down.Breaker = &router.Breaker{Failures: failures, Open: 10 * time.Second}
		x := newRig(t, only(down))
		synctest.Wait()
		x.accept(batchOf(events)...)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		// Those that open it, with what runs beside the last of them, and the trials.
		if n := len(h.calls); n < failures || n > failures+2+5 {
			t.Errorf("%d attempts in 50 s; want %d and a trial every 10 s", n, failures)
		}
		if info := x.info("h"); info.BreakerUntil.IsZero() {
			t.Error("the breaker is not said to be open")
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		attempts := 0
		for _, rec := range x.all() {
			if rec.Status != event.Completed {
				t.Errorf("%s is %s; want COMPLETED", rec.ID, rec.Status)
			}
			attempts += rec.Deliveries[0].Attempts
		}
		if attempts != len(h.calls) {
			t.Errorf("%d attempts are on record; want the %d that were made", attempts, len(h.calls))
		}
		if info := x.info("h"); !info.BreakerUntil.IsZero() {
			t.Errorf("the breaker is open until %s", info.BreakerUntil)
		}
	})
}

func TestRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, perSecond = 400, 100
		h := &outage{}
		limited := handlerTo("h", h)
		limited.Rate = perSecond
		x := newRig(t, only(limited))
		synctest.Wait()
		began := time.Now()
		x.accept(batchOf(events)...)
		for x.store.Counts()[event.Inbound][event.Completed] < events {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if time.Since(began) > time.Minute {
				t.Fatalf("%d of %d after a minute", x.store.Counts()[event.Inbound][event.Completed], events)
			}
		}
		if n := h.within(time.Second); n > perSecond {
			t.Errorf("%d attempts within a second; want at most %d", n, perSecond)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%d events at %d/s took %s", events, perSecond, took)
		}
	})
}

// hesitant is a store whose commits take long in the first half of each second.
type hesitant struct{ prompt }

func (h *hesitant) UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error {
	if time.Now().Nanosecond() < int(500*time.Millisecond) {
		time.Sleep(200 * time.Millisecond)
	}
	return h.prompt.UpdateWithin(ctx, patience, updates...)
}

// TestRateIsKeptBesideSlowCommits: what has waited for one does not begin beside
// what the rate allows again by then.
func TestRateIsKeptBesideSlowCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, perSecond = 600, 100
		h := &outage{}
		limited := withConcurrency(handlerTo("h", h), 64)
		limited.Rate = perSecond
		db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), "eventd.db")})
		if err != nil {
			t.Fatal(err)
		}
		r, err := router.New(router.Options{Service: "S", Store: &hesitant{prompt: prompt{db}}, Observer: noObserver{}, Log: zerolog.Nop()}, only(limited))
		if err != nil {
			t.Fatal(err)
		}
		x := &rig{Router: r, t: t, store: db}
		defer x.close()
		x.accept(batchOf(events)...)
		if err := r.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		advance(time.Minute)
		if n := len(h.calls); n != events {
			t.Errorf("%d attempts; want %d", n, events)
		}
		for _, span := range []time.Duration{100 * time.Millisecond, time.Second} {
			limit := min(perSecond/20+int(perSecond*span/time.Second)+1, perSecond)
			if n := h.within(span); n > limit {
				t.Errorf("%d attempts within %s; want at most %d", n, span, limit)
			}
		}
	})
}

func TestRateIsKeptForClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := polled("h")
		h.Rate = 1
		x := newRig(t, only(h))
		synctest.Wait()
		x.accept(batchOf(5)...)
		began := time.Now()
		for i := range 5 {
			list := x.claim(event.ClaimOrder{Max: 10, Wait: time.Minute})
			if took := time.Since(began).Round(time.Millisecond); len(list) != 1 || took != time.Duration(i)*time.Second {
				t.Errorf("%d events are claimed after %s; want one after %ds", len(list), took, i)
			}
		}
	})
}
