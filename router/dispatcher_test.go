package router_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
)

// TestHungHandlerDelaysNoOther hangs one of three handlers with all its slots
// taken and more waiting, while the others get events of their own and of a
// fan-out that all three share.
func TestHungHandlerDelaysNoOther(t *testing.T) {
	hung := newGate()
	x := newRig(t, router.Config{
		Routes: []router.Route{route("H", "hung"), route("G", "good"), route("R", "retrying"), route("F", "hung", "good", "retrying")},
		Handlers: []router.Handler{
			withConcurrency(handlerTo("hung", hung), 2),
			withConcurrency(handlerTo("good", &script{}), 2),
			handlerTo("retrying", &script{answers: []event.Answer{again, done}}),
		},
	})
	for i := range 10 {
		x.accept(message(fmt.Sprint("h", i), "H", "{}"))
	}
	hung.next(t)
	hung.next(t)
	const n = 60
	for i := range n {
		x.accept(message(fmt.Sprint("g", i), "G", "{}"), message(fmt.Sprint("r", i), "R", "{}"), message(fmt.Sprint("f", i), "F", "{}"))
	}
	for i := range n {
		x.await(fmt.Sprint("g", i), event.Completed)
		x.await(fmt.Sprint("r", i), event.Completed)
	}
	until(t, "the shares of the others in the fan-out are COMPLETED", func() bool {
		for i := range n {
			rec := x.find(fmt.Sprint("f", i))
			if rec.Deliveries[1].Status != event.Completed || rec.Deliveries[2].Status != event.Completed || rec.Deliveries[0].Status != event.Unprocessed {
				return false
			}
		}
		return true
	})
	defer x.stop(time.Millisecond) // without the patience for what hangs
	if h := x.info("hung"); h.InFlight != 2 || h.Queue != 8+n {
		t.Errorf("hung: %d in flight, %d waiting; want 2, %d", h.InFlight, h.Queue, 8+n)
	}
}

func TestWaitingRetryHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := deliver(func(_ context.Context, a *event.Attempt) event.Answer {
			if a.Event.MessageType == "BAD" && a.Number == 1 {
				return again
			}
			return done
		})
		x := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", h), 1), late)))
		for i := range 20 {
			x.accept(message(fmt.Sprint("bad", i), "BAD", "{}"))
		}
		synctest.Wait()
		x.accept(message("good", "GOOD", "{}"))
		synctest.Wait()
		if rec := x.find("good"); rec.Status != event.Completed {
			t.Errorf("good is %s; want COMPLETED", rec.Status)
		}
		if h := x.info("h"); h.InFlight != 0 || h.Retries != 20 {
			t.Errorf("%d slots taken, %d retries; want 0, 20", h.InFlight, h.Retries)
		}
		advance(time.Hour)
		for i := range 20 {
			rec := x.find(fmt.Sprint("bad", i))
			if got := shape(rec); got != "IN_PROGRESS 1, RETRY 1 http_503, IN_PROGRESS 2, COMPLETED 2" {
				t.Errorf("bad%d: %s", i, got)
			}
			if wait := rec.Timeline[2].At.Sub(rec.Timeline[1].At); wait != time.Hour {
				t.Errorf("bad%d was tried again after %s; want 1h", i, wait)
			}
		}
	})
}

// resting answers the first attempt of an event with what its payload says:
// how long the handler rests, or "" for a plain failure.
func resting(_ context.Context, a *event.Attempt) event.Answer {
	rest, _ := time.ParseDuration(string(a.Payload))
	if a.Number > 1 || string(a.Payload) == "ok" {
		return done
	}
	return event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Code: 503, Rest: rest}
}

func minutely(d router.Deliverer) router.Config {
	return only(withPolicy(handlerTo("h", d), retry.Policy{Backoff: retry.Constant, Initial: time.Minute, MaxAttempts: 5}))
}

func TestRestHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, minutely(deliver(resting)))
		synctest.Wait()
		start := time.Now()
		x.accept(message("rest", "A", "30m"))
		synctest.Wait()
		x.accept(message("new", "A", "ok"))
		advance(30*time.Minute - time.Microsecond)
		if rec := x.find("new"); rec.Status != event.Unprocessed || x.info("h").RestUntil.IsZero() {
			t.Fatalf("while the handler rests new is %s, rest until %s; want UNPROCESSED", rec.Status, x.info("h").RestUntil)
		}
		advance(time.Microsecond)
		for _, id := range []string{"rest", "new"} {
			rec := x.find(id)
			if begun := rec.Timeline[len(rec.Timeline)-2].At; rec.Status != event.Completed || begun.Sub(start) != 30*time.Minute {
				t.Errorf("%s: %s, begun after %s; want COMPLETED after 30m", id, shape(rec), begun.Sub(start))
			}
		}
		if !x.info("h").RestUntil.IsZero() {
			t.Error("the handler still rests")
		}
	})
}

// TestRestOutlastsASoonerAlarm: the alarm rings for a retry while the handler
// rests, and must ring again at the end of the rest.
func TestRestOutlastsASoonerAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, minutely(deliver(resting)))
		synctest.Wait()
		x.accept(message("retry", "A", "")) // due after a minute
		synctest.Wait()
		x.accept(message("rest", "A", "10m"))
		advance(10*time.Minute - time.Microsecond)
		if got := shape(x.find("retry")); got != "IN_PROGRESS 1, RETRY 1 http_503" {
			t.Errorf("while the handler rests: %s", got)
		}
		advance(time.Microsecond)
		if rec := x.find("retry"); rec.Status != event.Completed {
			t.Errorf("retry is %s after the rest; want COMPLETED", rec.Status)
		}
	})
}

func TestShorterRestDoesNotEndALongerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		x := newRig(t, minutely(gate))
		x.accept(message("a", "A", ""), message("b", "A", ""))
		gate.next(t)
		gate.next(t)
		for _, rest := range []time.Duration{20 * time.Minute, 5 * time.Minute} {
			gate.answers <- event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Rest: rest}
			synctest.Wait()
		}
		x.accept(message("c", "A", ""))
		advance(20*time.Minute - time.Microsecond)
		if h := x.info("h"); h.InFlight != 0 {
			t.Errorf("%d attempts while the handler rests; want none", h.InFlight)
		}
		advance(time.Microsecond)
		if h := x.info("h"); h.InFlight != 1 || h.Queue+h.Retries != 2 {
			t.Errorf("%d attempts after the rest, %d wait; want 1, 2", h.InFlight, h.Queue+h.Retries)
		}
	})
}

func TestUnchargedAnswersDoNotExhaust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(429), Code: 429, Uncharged: true}
		h := &script{answers: []event.Answer{limited, limited, limited, limited, limited, again, done}}
		policy := retry.Policy{Backoff: retry.Constant, Initial: time.Second, MaxAttempts: 2}
		x := newRig(t, only(withPolicy(handlerTo("h", h), policy)))
		x.accept(message("e1", "A", "{}"))
		advance(time.Minute)
		rec := x.find("e1")
		if d := rec.Deliveries[0]; rec.Status != event.Completed || d.Attempts != 7 || d.Uncharged != 5 {
			t.Errorf("%s after %d attempts, %d uncharged; want COMPLETED, 7, 5", rec.Status, d.Attempts, d.Uncharged)
		}
	})
}

func TestPauseOutlastsARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eventd.db")
	h := &script{}
	c := only(handlerTo("h", h))
	x := openRig(t, path, c)
	x.pause("h", true)
	x.accept(message("e1", "A", "{}"))
	if i := x.info("h"); !i.Paused || i.PauseReason != "manual" {
		t.Errorf("paused %t, %q; want true, manual", i.Paused, i.PauseReason)
	}
	x.close()

	x = openRig(t, path, c)
	x.accept(message("e2", "A", "{}"))
	if i := x.info("h"); !i.Paused || i.Queue != 2 {
		t.Errorf("after a restart paused %t, %d waiting; want true, 2", i.Paused, i.Queue)
	}
	x.close() // nothing can begin any more
	if h.count() != 0 {
		t.Fatalf("%d executions while paused; want none", h.count())
	}

	x = openRig(t, path, c)
	x.pause("h", false)
	x.await("e1", event.Completed)
	x.await("e2", event.Completed)
	x.close()
	x = openRig(t, path, c)
	if x.info("h").Paused {
		t.Error("a resumed handler is paused after a restart")
	}
	if err := x.SetHandlerPaused(context.Background(), "none", true); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("pause of an unknown handler: %v; want ErrNotFound", err)
	}
}

func TestHandlerThatIsGoneIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "eventd.db")
		h := &script{answers: []event.Answer{{Outcome: event.Never, Reason: event.Gone, Code: 410, Pause: true}}}
		c := only(withConcurrency(handlerTo("h", h), 1))
		x := openRig(t, path, c)
		synctest.Wait()
		x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"))
		synctest.Wait()
		if rec := x.find("e1"); shape(rec) != "IN_PROGRESS 1, ERROR 1 gone" {
			t.Errorf("e1: %s; want ERROR gone", shape(rec))
		}
		if rec, i := x.find("e2"), x.info("h"); rec.Status != event.Unprocessed || !i.Paused || i.PauseReason != "gone" {
			t.Errorf("e2 is %s, handler paused %t %q; want UNPROCESSED, true, gone", rec.Status, i.Paused, i.PauseReason)
		}
		x.close()
		x = openRig(t, path, c)
		synctest.Wait()
		if i := x.info("h"); i.PauseReason != "gone" || h.count() != 1 {
			t.Errorf("after a restart paused %q, %d executions; want gone, 1", i.PauseReason, h.count())
		}
		h.answers = nil
		x.pause("h", false)
		synctest.Wait()
		if rec := x.find("e2"); rec.Status != event.Completed {
			t.Errorf("after the resume e2 is %s; want COMPLETED", rec.Status)
		}
	})
}

func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, h := newGate(), &script{}
		c := router.Config{
			Routes:   []router.Route{route("A", "slow"), route("B", "quick")},
			Handlers: []router.Handler{withConcurrency(handlerTo("slow", gate), 2), handlerTo("quick", h)},
		}
		x := newRig(t, c)
		synctest.Wait()
		for i := range 4 {
			x.accept(message(fmt.Sprint("a", i), "A", "{}"))
		}
		gate.next(t)
		gate.next(t)
		stopped := make(chan struct{})
		for range 2 { // the second caller waits as well
			go func() { x.stop(time.Hour); stopped <- struct{}{} }()
		}
		synctest.Wait()
		if _, err := x.Accept(context.Background(), []event.Message{message("late", "A", "{}")}); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("Accept while stopping: %v; want ErrUnavailable", err)
		}
		if err := x.Reload(c); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("Reload while stopping: %v; want ErrUnavailable", err)
		}
		select {
		case <-stopped:
			t.Fatal("Stop returns while attempts run")
		default:
		}
		followed := done
		followed.FollowUps = []event.Message{{Event: event.Event{ID: "b", MessageType: "B"}}}
		gate.answers <- followed
		gate.answers <- done
		<-stopped
		<-stopped
		for id, want := range map[string]event.Status{
			"a0": event.Completed, "a1": event.Completed, "a2": event.Unprocessed, "a3": event.Unprocessed, "b": event.Unprocessed,
		} {
			if rec := x.find(id); rec.Status != want {
				t.Errorf("%s is %s; want %s", id, rec.Status, want)
			}
		}
		if h.count() != 0 {
			t.Errorf("%d follow-ups were begun while stopping; want none", h.count())
		}
		if err := x.Start(context.Background()); !errors.Is(err, event.ErrUnavailable) {
			t.Errorf("Start after Stop: %v; want ErrUnavailable", err)
		}
	})
}

func TestStopAbandonsWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, gate := filepath.Join(t.TempDir(), "eventd.db"), newGate()
		x := openRig(t, path, only(handlerTo("h", gate)))
		x.accept(message("e1", "A", "{}"))
		gate.next(t)
		x.stop(time.Minute)
		if rec := x.find("e1"); shape(rec) != "IN_PROGRESS 1, RETRY 1 interrupted" {
			t.Errorf("%s; want RETRY interrupted", shape(rec))
		}
		x.close()
		x = openRig(t, path, only(handlerTo("h", &script{})))
		advance(time.Minute)
		if rec := x.find("e1"); shape(rec) != "IN_PROGRESS 1, RETRY 1 interrupted, IN_PROGRESS 2, COMPLETED 2" {
			t.Errorf("after a restart: %s", shape(rec))
		}
	})
}

// TestAcceptBeforeStart: what is stored before the start is delivered after it.
func TestAcceptBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		x := unstarted(t, only(handlerTo("h", h)))
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Unprocessed {
			t.Errorf("before the start it is %s; want UNPROCESSED", rec.Status)
		}
		x.reload(router.Config{
			Routes:   []router.Route{route("A", "h"), route("B", "new")},
			Handlers: []router.Handler{handlerTo("h", h), handlerTo("new", h)},
		})
		x.accept(message("e2", "B", "{}"))
		synctest.Wait()
		if h.count() != 0 {
			t.Errorf("%d executions before the start; want none", h.count())
		}
		if err := x.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.count() != 2 {
			t.Errorf("%d executions; want 2", h.count())
		}
	})
}
