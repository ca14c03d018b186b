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

func TestEventsOfARemovedHandlerAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{answers: []event.Answer{again, done}}
		here := only(withPolicy(handlerTo("h", h), late))
		here.DeadLetter = "dead"
		gone := router.Config{DeadLetter: "dead"}
		x := newRig(t, here)
		x.accept(message("retry", "A", "{}"))
		synctest.Wait()
		x.pause("h", true)
		at := time.Now().Add(24 * time.Hour)
		delayed := message("delayed", "A", "{}")
		delayed.DeliverAt = at
		x.accept(message("waiting", "A", "{}"), delayed)
		x.reload(gone)
		synctest.Wait()
		for id, want := range map[string]string{
			"retry": "IN_PROGRESS 1, RETRY 1 http_503, ERROR no_route", "waiting": "ERROR no_route", "delayed": "ERROR no_route",
		} {
			rec := x.find(id)
			if got := shape(rec); got != want || rec.Status != event.Error || rec.Reason != event.NoRoute {
				t.Errorf("%s: %s; want %s", id, got, want)
			}
		}
		if n := len(x.outbox()); n != 3 {
			t.Errorf("%d dead letters; want 3", n)
		}

		before := x.find("waiting")
		x.reload(gone) // changes nothing for them
		advance(time.Hour)
		if rec := x.find("waiting"); rec.UpdatedAt != before.UpdatedAt || len(x.outbox()) != 3 {
			t.Error("a reload that has no place for an event changes it")
		}

		h.answers = nil
		x.reload(here)
		x.pause("h", false)
		synctest.Wait()
		for _, id := range []string{"retry", "waiting"} {
			if rec := x.find(id); rec.Status != event.Completed || rec.Deliveries[0].Generation != 1 {
				t.Errorf("%s is %s in generation %d; want COMPLETED in 1", id, rec.Status, rec.Deliveries[0].Generation)
			}
		}
		if rec := x.find("delayed"); rec.Status != event.Unprocessed {
			t.Errorf("delayed is %s before its time; want UNPROCESSED", rec.Status)
		}
		advance(24 * time.Hour)
		rec := x.find("delayed")
		if begun := rec.Timeline[len(rec.Timeline)-2].At; rec.Status != event.Completed || !begun.Equal(at) {
			t.Errorf("delayed: %s, begun at %s; want COMPLETED, at %s", shape(rec), begun, at)
		}
	})
}

func TestUnroutedEventKeepsItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, router.Config{})
		m := message("e1", "A", "{}")
		m.DeliverAt = time.Now().Add(time.Hour)
		x.accept(m)
		x.reload(only(handlerTo("h", &script{})))
		advance(time.Hour - time.Microsecond)
		if rec := x.find("e1"); rec.Status != event.Unprocessed || rec.Deliveries[0].Generation != 0 {
			t.Errorf("before its time it is %s in generation %d; want UNPROCESSED in 0", rec.Status, rec.Deliveries[0].Generation)
		}
		advance(time.Microsecond)
		if rec := x.find("e1"); rec.Status != event.Completed {
			t.Errorf("at its time it is %s; want COMPLETED", rec.Status)
		}
	})
}

func TestHeldEventGoesWhereARouteLeadsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, router.Config{
			Routes:   []router.Route{route("A", "old"), route("F", "old", "kept")},
			Handlers: []router.Handler{handlerTo("old", &script{}), handlerTo("kept", &script{})},
		})
		x.pause("old", true)
		x.accept(message("e1", "A", "{}"), message("e2", "F", "{}"), message("e3", "F", "{}"))
		synctest.Wait()
		x.reload(router.Config{
			Routes:   []router.Route{route("A", "new"), route("F", "kept", "new")},
			Handlers: []router.Handler{handlerTo("new", &script{}), handlerTo("kept", &script{})},
		})
		synctest.Wait()
		for id, want := range map[string]string{
			"e1": "new 1 COMPLETED", "e2": "new 1 COMPLETED, kept 0 COMPLETED", "e3": "new 1 COMPLETED, kept 0 COMPLETED",
		} {
			if got := deliveriesOf(x.find(id)); got != want {
				t.Errorf("%s: %s; want %s", id, got, want)
			}
		}
	})
}

// TestHandlerThatIsBackWithoutARoute: what waited for it goes to it all the same.
func TestHandlerThatIsBackWithoutARoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, other := handlerTo("h", &script{}), handlerTo("other", &script{})
		x := newRig(t, router.Config{Routes: []router.Route{route("*", "h")}, Handlers: []router.Handler{h, other}})
		x.pause("h", true)
		x.accept(message("routed", "A", "{}"), message("not", "B", "{}"))
		x.reload(router.Config{})
		synctest.Wait()
		x.pauseGoneHandler(t)
		x.reload(router.Config{Routes: []router.Route{route("A", "other")}, Handlers: []router.Handler{h, other}})
		x.pause("h", false)
		synctest.Wait()
		for _, id := range []string{"routed", "not"} {
			if got := deliveriesOf(x.find(id)); got != "h 1 COMPLETED" {
				t.Errorf("%s: %s; want it to go to h", id, got)
			}
		}
	})
}

// pauseGoneHandler: a handler that is configured away cannot be switched.
func (x *rig) pauseGoneHandler(t *testing.T) {
	t.Helper()
	if err := x.SetHandlerPaused(context.Background(), "h", false); err == nil {
		t.Error("a handler that is not configured can be resumed")
	}
}

func TestAttemptsOfARemovedHandlerAreSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		c := only(withPolicy(withConcurrency(handlerTo("h", gate), 3), late))
		x := newRig(t, c)
		synctest.Wait() // the dispatcher has looked: what comes first goes first
		for i := range 4 {
			x.accept(message(fmt.Sprint("e", i), "A", "{}"))
		}
		for range 3 {
			gate.next(t)
		}
		x.reload(router.Config{Routes: []router.Route{route("B", "i")}, Handlers: []router.Handler{handlerTo("i", &script{})}})
		synctest.Wait()
		if got := shape(x.find("e3")); got != "ERROR no_route" {
			t.Errorf("what waited: %s; want ERROR no_route", got)
		}
		answer := done
		answer.FollowUps = []event.Message{{Event: event.Event{ID: "child", MessageType: "B"}}}
		gate.answers <- answer
		synctest.Wait()
		gate.answers <- again
		synctest.Wait()
		shapes := map[string]int{}
		for i := range 3 {
			shapes[shape(x.find(fmt.Sprint("e", i)))]++
		}
		for _, want := range []string{"IN_PROGRESS 1", "IN_PROGRESS 1, COMPLETED 1", "IN_PROGRESS 1, RETRY 1 http_503, ERROR no_route"} {
			if shapes[want] != 1 {
				t.Errorf("attempts of the removed handler: %v; want one %s", shapes, want)
			}
		}
		if rec := x.find("child"); rec.Status != event.Completed || rec.CreatedBy != "H" {
			t.Errorf("follow-up is %s, created by %s; want COMPLETED, H", rec.Status, rec.CreatedBy)
		}
		x.stop(time.Second) // gives up the last one
		if n := len(x.all()); n != 5 {
			t.Errorf("%d events; want 5", n)
		}
	})
}

// TestHandlerThatComesBackKeepsItsSlots removes and adds a handler while its
// attempts run: they count against its concurrency.
func TestHandlerThatComesBackKeepsItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		here := only(withConcurrency(handlerTo("h", gate), 2))
		x := newRig(t, here)
		for i := range 6 {
			x.accept(message(fmt.Sprint("e", i), "A", "{}"))
		}
		gate.next(t)
		gate.next(t)
		for range 3 {
			x.reload(router.Config{})
			synctest.Wait()
			x.reload(here)
			synctest.Wait()
		}
		if i := x.info("h"); i.InFlight != 2 || i.Queue != 4 {
			t.Errorf("%d in flight, %d waiting; want 2, 4", i.InFlight, i.Queue)
		}
		select {
		case <-gate.entered:
			t.Fatal("a third attempt has begun")
		default:
		}
		for range 4 {
			gate.answers <- done
			gate.next(t)
		}
		gate.answers <- done
		gate.answers <- done
		synctest.Wait()
		for i := range 6 {
			if rec := x.find(fmt.Sprint("e", i)); rec.Status != event.Completed {
				t.Errorf("e%d is %s; want COMPLETED", i, rec.Status)
			}
		}
	})
}

// TestHeldShareOfAFanOut: the handler of one share is removed and comes back
// while another share is on its way, or after it has failed.
func TestHeldShareOfAFanOut(t *testing.T) {
	for name, c := range map[string]struct {
		end   event.Answer
		early bool // the handler is back before the other share has ended
	}{
		"back before the other ends":         {done, true},
		"back before the other fails":        {rejected, true},
		"back after the other has ended":     {done, false},
		"back after the other has failed":    {rejected, false},
		"back after the other has given up":  {again, false},
		"back before the other has given up": {again, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := newGate()
				once := retry.Policy{MaxAttempts: 1}
				handlers := []router.Handler{withPolicy(handlerTo("slow", gate), once), handlerTo("away", &script{})}
				here := router.Config{Routes: []router.Route{route("A", "slow", "away")}, Handlers: handlers}
				gone := router.Config{Routes: []router.Route{route("A", "slow")}, Handlers: handlers[:1]}
				x := newRig(t, here)
				x.pause("away", true)
				x.accept(message("e1", "A", "{}"))
				gate.next(t)
				x.reload(gone)
				synctest.Wait()
				if d := x.find("e1").Deliveries[1]; d.Status != event.Error || d.Reason != event.NoRoute {
					t.Fatalf("the share of the removed handler is %s %s; want ERROR no_route", d.Status, d.Reason)
				}
				if c.early {
					x.reload(here)
					synctest.Wait()
				}
				gate.answers <- c.end
				synctest.Wait()
				if !c.early {
					x.reload(here)
				}
				x.pause("away", false)
				synctest.Wait()
				if d := x.find("e1").Deliveries[1]; d.Status != event.Completed {
					t.Errorf("the share of the handler that is back is %s %s; want COMPLETED", d.Status, d.Reason)
				}
			})
		})
	}
}

func TestReloadOfConcurrencyAndPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		config := func(n int, p retry.Policy) router.Config {
			return only(withPolicy(withConcurrency(handlerTo("h", gate), n), p))
		}
		x := newRig(t, config(1, late))
		for i := range 8 {
			x.accept(message(fmt.Sprint("e", i), "A", "{}"))
		}
		inFlight := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := x.info("h").InFlight; got != want {
				t.Errorf("%d attempts at once; want %d", got, want)
			}
		}
		inFlight(1)
		x.reload(config(4, late))
		inFlight(4)
		x.reload(config(2, retry.Policy{Backoff: retry.Constant, Initial: time.Second, MaxAttempts: 2}))
		inFlight(4)
		for _, want := range []int{3, 2, 2, 2, 2, 2, 1, 0} {
			gate.next(t)
			gate.answers <- again
			inFlight(want)
		}
		late, soon := 0, 0
		for _, rec := range x.all() {
			switch rec.Deliveries[0].NextAttempt.Sub(rec.Timeline[1].At) {
			case time.Hour:
				late++
			case time.Second:
				soon++
			}
		}
		if late != 4 || soon != 4 { // those that had begun keep the policy they began with
			t.Errorf("%d retries after an hour, %d after a second; want 4, 4", late, soon)
		}
	})
}

func TestReloadThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(handlerTo("h", &script{})))
		broken := only(handlerTo("i", &script{}))
		broken.Routes[0].When = "data.amount >"
		if err := x.Reload(broken); err == nil {
			t.Fatal("a broken condition is taken")
		}
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		if got := deliveriesOf(x.find("e1")); got != "h 0 COMPLETED" {
			t.Errorf("after a failed reload: %s; want it to go to h", got)
		}
	})
}

// slowStore stores events only when it is told to.
type slowStore struct {
	prompt
	mu     sync.Mutex
	accept func() // called before the next events are stored
}

func (s *slowStore) Accept(ctx context.Context, a []*event.Admission) error {
	s.mu.Lock()
	before := s.accept
	s.accept = nil
	s.mu.Unlock()
	if before != nil {
		before()
	}
	return s.DB.Accept(ctx, a)
}

// TestHandlerRemovedWhileAnEventIsStored: the event was routed to it, and the
// reload has looked for its events before there was this one.
func TestHandlerRemovedWhileAnEventIsStored(t *testing.T) {
	for _, slots := range []int{0, 1} { // none is free; one is kept for the event
		t.Run(fmt.Sprint(slots, " slots"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), "eventd.db")})
				if err != nil {
					t.Fatal(err)
				}
				store, h := &slowStore{prompt: prompt{db}}, &script{answers: []event.Answer{again}}
				here := only(withPolicy(handlerTo("h", h), late))
				r, err := router.New(router.Options{Service: "S", Store: store, Observer: noObserver{}, Log: zerolog.Nop()}, here)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Start(context.Background()); err != nil {
					t.Fatal(err)
				}
				x := &rig{Router: r, t: t, store: db}
				defer x.close()
				synctest.Wait()
				x.pause("h", slots == 0)
				store.accept = func() {
					x.reload(router.Config{})
					synctest.Wait()
				}
				x.accept(message("e1", "A", "{}"))
				synctest.Wait()
				if rec := x.find("e1"); rec.Status != event.Error || rec.Reason != event.NoRoute {
					t.Errorf("it is %s %s; want ERROR no_route", rec.Status, rec.Reason)
				}
				h.answers = nil
				x.reload(here)
				x.pause("h", false)
				synctest.Wait()
				if rec := x.find("e1"); rec.Status != event.Completed || h.count() != 1 {
					t.Errorf("it is %s after %d executions; want COMPLETED after 1", rec.Status, h.count())
				}
			})
		})
	}
}

// TestManyHeldEvents has more of them than are looked at in one go.
func TestManyHeldEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		here := only(handlerTo("h", h))
		x := newRig(t, here)
		x.pause("h", true)
		const n = 700
		var batch []event.Message
		for i := range n {
			batch = append(batch, message(fmt.Sprint("e", i), "A", "{}"))
		}
		x.accept(batch...)
		x.reload(router.Config{})
		synctest.Wait()
		if held := x.store.Counts()[event.Inbound][event.Error]; held != n {
			t.Errorf("%d events are held; want %d", held, n)
		}
		x.reload(here)
		x.pause("h", false)
		synctest.Wait()
		if ended := x.store.Counts()[event.Inbound][event.Completed]; ended != n || h.count() != n {
			t.Errorf("%d events are COMPLETED after %d executions; want %d", ended, h.count(), n)
		}
	})
}
