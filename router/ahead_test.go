package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// stalling answers messages of type QUICK at once and holds all others.
type stalling struct {
	script
	gate *gate
}

func newStalling() *stalling { return &stalling{gate: newGate()} }

func (s *stalling) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	if a.Event.MessageType == "QUICK" {
		return s.script.Deliver(ctx, a)
	}
	return s.gate.Deliver(ctx, a)
}

const (
	quickOnes = 40
	waiting   = 60
	slots     = 4
)

// stalledRig is a router whose only handler answered 40 events in no time, so that
// as many attempts are counted ahead, and holds the next four of 60 more.
func stalledRig(t *testing.T) (*rig, *stalling) {
	t.Helper()
	h := newStalling()
	x := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", h), slots), patient)))
	synctest.Wait()
	for i := range quickOnes {
		x.accept(message(fmt.Sprint("quick", i), "QUICK", "{}"))
		synctest.Wait()
	}
	for i := range waiting {
		x.accept(message(fmt.Sprint("e", i), "HELD", "{}"))
	}
	for range slots {
		h.gate.next(t)
	}
	synctest.Wait()
	return x, h
}

// shapes counts the events of type HELD by what happened to them.
func shapes(x *rig) map[string]int {
	x.t.Helper()
	n := map[string]int{}
	for _, s := range shapesOf(x, "HELD") {
		n[s]++
	}
	return n
}

// shapesOf returns what happened to each event of a type.
func shapesOf(x *rig, messageType string) (list []string) {
	x.t.Helper()
	for _, rec := range x.all() {
		if rec.MessageType == messageType {
			list = append(list, shape(rec))
		}
	}
	return list
}

func expectShapes(x *rig, want map[string]int) {
	x.t.Helper()
	if got := shapes(x); fmt.Sprint(got) != fmt.Sprint(want) {
		x.t.Errorf("%v; want %v", got, want)
	}
}

const takenBack = "IN_PROGRESS 1, UNPROCESSED 1"

func TestAttemptsAreCountedAheadOfFreeSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, h := stalledRig(t)
		expectShapes(x, map[string]int{"IN_PROGRESS 1": slots + quickOnes, "": waiting - slots - quickOnes})
		if i := x.info("h"); i.InFlight != slots || i.Queue != waiting-slots {
			t.Errorf("%d in flight, %d waiting; want %d, %d", i.InFlight, i.Queue, slots, waiting-slots)
		}
		for i := range waiting {
			h.gate.answers <- done
			if i < waiting-slots {
				h.gate.next(t)
			}
		}
		synctest.Wait()
		expectShapes(x, map[string]int{"IN_PROGRESS 1, COMPLETED 1": waiting})
	})
}

func TestSlowHandlerHasNothingCountedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		x := newRig(t, only(withConcurrency(handlerTo("h", gate), slots)))
		for i := range waiting {
			x.accept(message(fmt.Sprint("e", i), "HELD", "{}"))
		}
		for range 20 {
			gate.next(t)
			<-time.After(10 * time.Millisecond) // a hundred in a second
			gate.answers <- done
		}
		synctest.Wait()
		expectShapes(x, map[string]int{"IN_PROGRESS 1, COMPLETED 1": 20, "IN_PROGRESS 1": slots, "": waiting - 20 - slots})
	})
}

// TestCountedAheadIsTakenBack lets a handler stop taking in each of the ways
// there are: what was counted ahead is as if it never had been.
func TestCountedAheadIsTakenBack(t *testing.T) {
	for name, stop := range map[string]func(*rig, *stalling){
		"paused": func(x *rig, _ *stalling) { x.pause("h", true) },
		"configured away": func(x *rig, _ *stalling) {
			x.reload(router.Config{Routes: []router.Route{route("NONE", "other")}, Handlers: []router.Handler{handlerTo("other", newGate())}})
		},
		"polled": func(x *rig, _ *stalling) { x.reload(only(polled("h"))) },
		"resting": func(x *rig, h *stalling) {
			h.gate.answers <- event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Rest: time.Hour}
		},
		"breaker": func(x *rig, h *stalling) {
			guarded := withPolicy(withConcurrency(handlerTo("h", h), slots), patient)
			guarded.Breaker = &router.Breaker{Failures: 1, Open: time.Hour}
			x.reload(only(guarded))
			h.gate.answers <- again
		},
		"unhealthy": func(x *rig, h *stalling) {
			held := withHealth(withPolicy(withConcurrency(handlerTo("h", h), slots), patient), &pulse{sick: true})
			held.Health.Failures = 1
			x.reload(only(held))
		},
		"gone": func(x *rig, h *stalling) {
			h.gate.answers <- event.Answer{Outcome: event.Again, Reason: event.Gone, Pause: true}
		},
		"stopping": func(x *rig, _ *stalling) { go x.stop(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, h := stalledRig(t)
				defer x.stop(time.Millisecond)
				stop(x, h)
				synctest.Wait()
				back := 0
				for _, rec := range x.all() {
					if !strings.HasPrefix(shape(rec), takenBack) {
						continue
					}
					back++
					if d := rec.Deliveries[0]; d.Attempts != 0 || !d.FirstAttempt.IsZero() || d.Status != event.Unprocessed && d.Reason != event.NoRoute {
						t.Fatalf("%s has %d attempts, the first at %s, and is %s; want none, UNPROCESSED", rec.ID, d.Attempts, d.FirstAttempt, d.Status)
					}
					if e := rec.Timeline[1]; !strings.HasPrefix(e.Detail, "not sent and not counted") {
						t.Fatalf("the timeline says %q; want that it was not sent", e.Detail)
					}
				}
				if back != quickOnes {
					t.Errorf("%d taken back; want %d", back, quickOnes)
				}
			})
		})
	}
}

// TestTakenBackGoesOn resumes a handler: what was taken back is sent once.
func TestTakenBackGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, h := stalledRig(t)
		x.pause("h", true)
		synctest.Wait()
		x.pause("h", false)
		for range waiting {
			h.gate.answers <- done
			select {
			case <-h.gate.entered:
			case <-time.After(time.Second):
			}
		}
		synctest.Wait()
		n := shapes(x)
		if again := n[takenBack+", IN_PROGRESS 1, COMPLETED 1"]; again != quickOnes || n["IN_PROGRESS 1, COMPLETED 1"] != waiting-quickOnes {
			t.Errorf("%v; want all COMPLETED, %d after they were taken back", n, quickOnes)
		}
	})
}

// TestCrashWithAttemptsCountedAhead: those that were not sent count as
// interrupted like those that were.
func TestCrashWithAttemptsCountedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := stalledRig(t)
		defer x.stop(time.Millisecond)
		then := &script{}
		y := x.crash(only(withPolicy(withConcurrency(handlerTo("h", then), slots), patient)))
		advance(time.Hour)
		expectShapes(y, map[string]int{
			"IN_PROGRESS 1, COMPLETED 1":                                     waiting - slots - quickOnes,
			"IN_PROGRESS 1, RETRY 1 interrupted, IN_PROGRESS 2, COMPLETED 2": slots + quickOnes,
		})
		if n := then.count(); n != waiting {
			t.Errorf("%d executions after the crash; want %d", n, waiting)
		}
	})
}

// TestWhatWasInFlightInACrashIsNotCountedAhead: three crashes in a row make
// poison, so those that were in one are IN_PROGRESS only while they are sent.
func TestWhatWasInFlightInACrashIsNotCountedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := stalledRig(t)
		defer x.stop(time.Millisecond)
		h := newStalling()
		y := x.crash(only(withPolicy(withConcurrency(handlerTo("h", h), slots), patient)))
		defer y.stop(time.Millisecond)
		for range waiting - slots - quickOnes { // those nothing was counted for
			h.gate.next(t)
			h.gate.answers <- done
		}
		for i := range quickOnes { // at a pace that has attempts counted ahead
			y.accept(message(fmt.Sprint("more", i), "QUICK", "{}"))
			synctest.Wait()
		}
		advance(950 * time.Millisecond)
		for i := range quickOnes {
			y.accept(message(fmt.Sprint("again", i), "QUICK", "{}"))
			synctest.Wait()
		}
		advance(50 * time.Millisecond)
		inFlight := 0
		for _, rec := range y.all() {
			if d := rec.Deliveries[0]; d.Status == event.InProgress && d.Attempts == 2 {
				inFlight++
			}
		}
		if inFlight != slots {
			t.Errorf("%d of those that were in flight in the crash are IN_PROGRESS; want %d", inFlight, slots)
		}
	})
}

// TestFreeSlotsTakeWhatIsCountedAhead: a slot may become free, or new, while no
// attempt ends that would hand its slot on.
func TestFreeSlotsTakeWhatIsCountedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, h := stalledRig(t)
		defer x.stop(time.Millisecond)
		x.reload(only(withPolicy(withConcurrency(handlerTo("h", h), 2*slots), patient)))
		want := map[string]bool{"e4": true, "e5": true, "e6": true, "e7": true}
		for range slots {
			if id := h.gate.next(t).Event.ID; !want[id] {
				t.Errorf("%s began; want those that wait longest", id)
			}
		}
		synctest.Wait()
		if i := x.info("h"); i.InFlight != 2*slots || i.Queue != waiting-2*slots {
			t.Errorf("%d in flight, %d waiting; want %d, %d", i.InFlight, i.Queue, 2*slots, waiting-2*slots)
		}
	})
}

// TestPushedBecomesPolled reloads a handler that has attempts counted ahead so that
// it is polled: who claims gets all but those that have begun.
func TestPushedBecomesPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, h := stalledRig(t)
		x.reload(only(polled("h")))
		for range slots {
			h.gate.answers <- done
		}
		synctest.Wait()
		if n := len(x.claim(event.ClaimOrder{Max: waiting})); n != waiting-slots {
			t.Errorf("%d can be claimed; want %d", n, waiting-slots)
		}
	})
}

// TestTakenBackIsDueAsBefore: when it came, whatever the clock of its sender says.
func TestTakenBackIsDueAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &company{over: make(chan struct{})}
		x := newRig(t, only(handlerTo("h", c)))
		synctest.Wait()
		m, now := message("e1", "A", "{}"), time.Now()
		m.CreatedAt = now.Add(time.Hour)
		x.accept(m)
		synctest.Wait()
		x.pause("h", true)
		synctest.Wait()
		if d := x.find("e1").Deliveries[0]; d.Status != event.Unprocessed || !d.NextAttempt.Equal(now) {
			t.Errorf("it is %s and due at %s; want UNPROCESSED, %s", d.Status, d.NextAttempt, now)
		}
	})
}
