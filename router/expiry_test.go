package router_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

func expiring(h router.Handler, after time.Duration) router.Config {
	c := only(h)
	c.Routes[0].Expires = after
	return c
}

// TestExpiresOfARoute says when an event expires that says so itself, or not.
func TestExpiresOfARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := withPolicy(handlerTo("h", &script{answers: []event.Answer{again}}), late)
		first, second := route("A", "h"), route("A", "other")
		first.Expires, first.Continue, second.Expires = time.Hour, true, 30*time.Minute
		x := newRig(t, router.Config{
			Routes:   []router.Route{first, second, expiring(h, time.Hour).Routes[0]},
			Handlers: []router.Handler{h, handlerTo("other", &script{})},
		})
		now := time.Now().UTC()
		sent := func(id, messageType string, deliverAt, expires time.Time) event.Message {
			m := message(id, messageType, "{}")
			m.CreatedAt, m.DeliverAt, m.Expires = now, deliverAt, expires
			return m
		}
		x.accept(
			sent("route", "B", time.Time{}, time.Time{}),
			sent("two routes", "A", time.Time{}, time.Time{}),
			sent("own", "B", time.Time{}, now.Add(time.Minute)),
			sent("own, later", "B", time.Time{}, now.Add(9*time.Hour)),
			sent("delayed", "B", now.Add(5*time.Hour), time.Time{}),
			sent("delay that is over", "B", now.Add(-5*time.Hour), time.Time{}),
		)
		for id, want := range map[string]time.Duration{
			"route": time.Hour, "two routes": 30 * time.Minute, "own": time.Minute,
			"own, later": time.Hour, "delayed": 6 * time.Hour, "delay that is over": time.Hour,
		} {
			if got := x.find(id).Expires.Sub(now); got != want {
				t.Errorf("%s: expires after %s; want %s", id, got, want)
			}
		}
		if info := x.Routes()[2]; info.Expires != "1h0m0s" {
			t.Errorf("the route is told to expire after %q", info.Expires)
		}
	})
}

// TestExpiresWhileItWaitsForARetry ends when its time is over, not when the
// retry would be due.
func TestExpiresWhileItWaitsForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{answers: []event.Answer{again}}
		c := expiring(withPolicy(handlerTo("h", h), late), 90*time.Minute)
		c.DeadLetter = "dead"
		path := filepath.Join(t.TempDir(), "eventd.db")
		x := openRig(t, path, c)
		synctest.Wait()
		began := time.Now()
		x.accept(message("e1", "A", "{}"))
		advance(time.Hour) // a retry, and the next one would come half an hour too late
		if rec := x.find("e1"); rec.Status != event.Retry || h.count() != 2 {
			t.Fatalf("after an hour it is %s after %d executions; want RETRY after 2", rec.Status, h.count())
		}
		x.stop(time.Second)
		if err := x.store.Close(); err != nil {
			t.Fatal(err)
		}
		y := openRig(t, path, c)
		advance(30 * time.Minute)
		if rec := y.find("e1"); rec.Status != event.Retry {
			t.Fatalf("when its time is just over it is %s; want RETRY", rec.Status)
		}
		advance(time.Microsecond)
		rec := y.find("e1")
		last := rec.Timeline[len(rec.Timeline)-1]
		if rec.Status != event.Failed || rec.Reason != event.Expired || last.At.Sub(began) != 90*time.Minute+time.Microsecond {
			t.Errorf("%s at %s; want FAILED expired after 1h30m", shape(rec), last.At.Sub(began))
		}
		advance(24 * time.Hour)
		if h.count() != 2 {
			t.Errorf("%d executions; want none after its time", h.count())
		}
		if n := len(y.outbox()); n != 1 {
			t.Errorf("%d dead letters; want 1", n)
		}
	})
}

// TestExpiresBeforeItIsDelivered ends when its time is over, not when it was to be
// delivered; also when a reload routes it.
func TestExpiresBeforeItIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		c := only(handlerTo("h", h))
		c.Routes = []router.Route{route("A", "h")}
		x := newRig(t, c)
		for _, messageType := range []string{"A", "B"} {
			m := message(messageType, messageType, "{}")
			m.DeliverAt, m.Expires = time.Now().Add(2*time.Hour), time.Now().Add(time.Hour)
			x.accept(m)
		}
		synctest.Wait()
		c.Routes = append(c.Routes, route("B", "h"))
		x.reload(c)
		for _, step := range []struct {
			after time.Duration
			want  event.Status
		}{{time.Hour, event.Unprocessed}, {time.Microsecond, event.Failed}, {2 * time.Hour, event.Failed}} {
			advance(step.after)
			for _, id := range []string{"A", "B"} {
				if rec := x.find(id); rec.Status != step.want || h.count() != 0 {
					t.Errorf("%s: %s, %d executions; want %s, none", id, shape(rec), h.count(), step.want)
				}
			}
		}
	})
}

// TestExpiresInterrupted: what a crash interrupted waits no longer either.
func TestExpiresInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := expiring(withPolicy(handlerTo("h", g), late), time.Minute)
		x := newRig(t, c)
		x.accept(message("e1", "A", "{}"))
		g.next(t)
		synctest.Wait()
		y := openRig(t, copyOf(t, x.path), c)
		if rec := y.find("e1"); rec.Status != event.Retry || rec.Deliveries[0].NextAttempt.After(rec.Expires.Add(time.Microsecond)) {
			t.Errorf("%s, next at %s; want it to end at %s", shape(rec), rec.Deliveries[0].NextAttempt, rec.Expires)
		}
		advance(2 * time.Minute)
		if rec := y.find("e1"); rec.Status != event.Failed || rec.Reason != event.Expired {
			t.Errorf("%s; want FAILED expired", shape(rec))
		}
		g.answers <- done
		synctest.Wait()
	})
}

// TestDeliverAtOutlastsARestart: not early before, nor after.
func TestDeliverAtOutlastsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		c := only(handlerTo("h", h))
		path := filepath.Join(t.TempDir(), "eventd.db")
		x := openRig(t, path, c)
		at := time.Now().Add(time.Hour).Add(time.Nanosecond) // kept as a whole microsecond, not an earlier one
		m := message("e1", "A", "{}")
		m.DeliverAt = at
		x.accept(m)
		advance(30 * time.Minute)
		x.Stop(context.Background())
		if err := x.store.Close(); err != nil {
			t.Fatal(err)
		}
		y := openRig(t, path, c)
		advance(30 * time.Minute)
		if h.count() != 0 {
			t.Fatal("it is delivered before its time")
		}
		advance(time.Microsecond)
		if rec := y.find("e1"); rec.Status != event.Completed || rec.Timeline[0].At.Before(at) {
			t.Errorf("%s at %s; want COMPLETED, not before %s", shape(rec), rec.Timeline[0].At, at)
		}
	})
}
