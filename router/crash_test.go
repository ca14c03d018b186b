package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
)

// crash opens a router on what the store of another would have after a crash
// now. The other must be at rest; it is left behind.
func (x *rig) crash(c router.Config) *rig {
	x.t.Helper()
	return openRig(x.t, copyOf(x.t, x.path), c)
}

var patient = retry.Policy{Backoff: retry.Constant, Initial: time.Second}

func TestInterruptedAttemptsAreCountedAndMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		c := only(withPolicy(withConcurrency(handlerTo("h", gate), 4), patient))
		x := newRig(t, c)
		synctest.Wait()
		for i := range 10 {
			x.accept(message(fmt.Sprint("e", i), "A", "{}"))
		}
		for range 4 {
			gate.next(t)
		}
		synctest.Wait()

		h := &script{}
		y := x.crash(only(withPolicy(handlerTo("h", h), patient)))
		advance(0)
		for i := range 10 {
			want := "IN_PROGRESS 1, COMPLETED 1"
			if i < 4 {
				want = "IN_PROGRESS 1, RETRY 1 interrupted"
			}
			rec := y.find(fmt.Sprint("e", i))
			if got := shape(rec); got != want {
				t.Errorf("e%d: %s; want %s", i, got, want)
			}
			if i < 4 && (rec.UpdatedBy != "SERVICE_A" || !rec.Deliveries[0].NextAttempt.Equal(rec.Timeline[1].At.Add(time.Second))) {
				t.Errorf("e%d: updated by %s, next attempt %s; want SERVICE_A, after a second", i, rec.UpdatedBy, rec.Deliveries[0].NextAttempt)
			}
		}
		advance(time.Second)
		for i := range 4 {
			rec := y.find(fmt.Sprint("e", i))
			if got := shape(rec); got != "IN_PROGRESS 1, RETRY 1 interrupted, IN_PROGRESS 2, COMPLETED 2" {
				t.Errorf("e%d: %s", i, got)
			}
			if d := rec.Deliveries[0]; d.Attempts != 2 || d.Interruptions != 0 {
				t.Errorf("e%d: %d attempts, %d crashes in a row; want 2, 0", i, d.Attempts, d.Interruptions)
			}
		}
	})
}

func TestThreeCrashesInARowArePoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		c := only(withPolicy(handlerTo("h", gate), patient))
		c.DeadLetter = "dead"
		x := newRig(t, c)
		x.accept(message("e1", "A", "{}"))
		for range 2 {
			gate.next(t)
			synctest.Wait()
			x = x.crash(c)
			advance(time.Second)
		}
		gate.next(t) // the third attempt, in flight in the third crash
		synctest.Wait()
		x = x.crash(c)
		synctest.Wait()
		rec := x.find("e1")
		if got := shape(rec); !strings.HasSuffix(got, "IN_PROGRESS 3, FAILED 3 poison") || rec.Reason != event.Poison {
			t.Errorf("%s; want FAILED poison", got)
		}
		out := x.outbox()
		if len(out) != 1 || out[0].Header["eventd-reason"] != "poison" || out[0].Header["eventd-attempts"] != "3" {
			t.Errorf("dead letters = %v; want one for poison after 3 attempts", out)
		}
	})
}

func TestAnAnswerEndsTheRowOfCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		config := func() router.Config { return only(withPolicy(handlerTo("h", gate), patient)) }
		x := newRig(t, config())
		x.accept(message("e1", "A", "{}"))
		crash := func() {
			gate.next(t)
			synctest.Wait()
			gate = newGate() // the attempt that is left behind keeps the old one
			x = x.crash(config())
			advance(time.Second)
		}
		crash()
		crash()
		gate.next(t)
		gate.answers <- again
		advance(time.Second)
		crash()
		crash()
		gate.next(t)
		gate.answers <- done
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Completed || rec.Deliveries[0].Attempts != 6 {
			t.Errorf("%s after %d attempts; want COMPLETED after 6", rec.Status, rec.Deliveries[0].Attempts)
		}
	})
}

// TestCrashOfAFanOut interrupts one share, while another has ended and a third
// is not begun; the handler of a fourth is gone after the start.
func TestCrashOfAFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		handlers := []router.Handler{
			handlerTo("ended", &script{}), handlerTo("hung", gate), handlerTo("paused", &script{}), handlerTo("gone", gate),
		}
		c := router.Config{Routes: []router.Route{route("A", "ended", "hung", "paused", "gone")}, Handlers: handlers}
		x := newRig(t, c)
		x.pause("paused", true)
		x.accept(message("e1", "A", "{}"))
		gate.next(t)
		gate.next(t)
		synctest.Wait()
		handlers[1].Deliverer = &script{}
		c.Handlers = handlers[:3]
		x = x.crash(c)
		x.pause("paused", false)
		advance(time.Minute)
		rec := x.find("e1")
		var got []string
		for _, d := range rec.Deliveries {
			got = append(got, fmt.Sprint(d.Handler, " ", d.Status, d.Reason, " ", d.Attempts))
		}
		const want = "ended COMPLETED 1, hung COMPLETED 2, paused COMPLETED 1, gone ERRORno_route 1"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("deliveries: %s; want %s", s, want)
		}
	})
}

// TestStoreLostUnderLoad closes the store while all kinds of things are under
// way, several times, and compares what was executed with what is on record.
func TestStoreLostUnderLoad(t *testing.T) {
	var mu sync.Mutex
	executions := map[string]int{}
	note := deliver(func(_ context.Context, a *event.Attempt) event.Answer {
		mu.Lock()
		defer mu.Unlock()
		executions[a.Event.ID]++
		if len(a.Event.ID)%2 == 0 && a.Number == 1 {
			return again
		}
		if a.Event.Hops == 0 {
			followed := done
			followed.FollowUps = []event.Message{{Event: event.Event{MessageType: "B"}}}
			return followed
		}
		return done
	})
	policy := retry.Policy{Backoff: retry.Constant, Initial: time.Millisecond}
	c := router.Config{
		Routes:   []router.Route{route("A", "h"), route("B", "i")},
		Handlers: []router.Handler{withPolicy(handlerTo("h", note), policy), withPolicy(handlerTo("i", note), policy)},
	}
	path := filepath.Join(t.TempDir(), "eventd.db")
	accepted, serial := map[string]bool{}, 0
	for range 4 {
		x := openRig(t, path, c)
		var senders sync.WaitGroup
		for range 2 {
			senders.Go(func() {
				for {
					mu.Lock()
					serial++
					id := fmt.Sprint("e", serial)
					mu.Unlock()
					if _, err := x.Accept(context.Background(), []event.Message{message(id, "A", "{}")}); err != nil {
						return
					}
					mu.Lock()
					accepted[id] = true
					mu.Unlock()
				}
			})
		}
		want := len(accepted) + 100
		until(t, "a hundred events are accepted", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(accepted) >= want
		})
		if err := x.store.Close(); err != nil {
			t.Fatal(err)
		}
		senders.Wait()
		x.stop(time.Minute)
	}

	x := openRig(t, path, c)
	until(t, "everything is COMPLETED", func() bool {
		counts := x.store.Counts()
		for _, statuses := range counts {
			for status, n := range statuses {
				if status != event.Completed && n > 0 {
					return false
				}
			}
		}
		return true
	})
	records := x.all()
	for _, rec := range records {
		delete(accepted, rec.ID)
		if got, most := executions[rec.ID], rec.Deliveries[0].Attempts; got > most || got == 0 {
			t.Errorf("%s was executed %d times; %d attempts are on record", rec.ID, got, most)
		}
	}
	if len(accepted) > 0 {
		t.Errorf("%d accepted events are lost", len(accepted))
	}
	counts := x.store.Counts()
	if parents, children := counts[event.Inbound][event.Completed], counts[event.Request][event.Completed]; parents != children {
		t.Errorf("%d events have %d follow-ups; want one each", parents, children)
	}
}
