package router_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// failing rejects what is not redriven, and counts what is, by id.
type failing struct {
	script
	again bool // reject what is redriven as well
}

func (f *failing) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	if a.Generation == 0 {
		return rejected
	}
	f.script.Deliver(ctx, a)
	if f.again {
		return rejected
	}
	return done
}

// redriven returns how often each event was handed out redriven.
func (f *failing) redriven() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for _, a := range f.calls {
		n[a.Event.ID]++
	}
	return n
}

// twoHandlers has events A for a and B for b, which reject them.
func twoHandlers(a, b router.Deliverer) router.Config {
	return router.Config{
		Routes:   []router.Route{route("A", "a"), route("B", "b")},
		Handlers: []router.Handler{handlerTo("a", a), handlerTo("b", b)},
	}
}

func (x *rig) acceptMany(messageType string, n int) {
	x.t.Helper()
	for i := range n {
		x.accept(message(fmt.Sprint(messageType, i), messageType, "{}"))
	}
}

func (x *rig) startRedrive(j event.Redrive) *event.Redrive {
	x.t.Helper()
	if err := x.StartRedrive(context.Background(), &j); err != nil {
		x.t.Fatal(err)
	}
	return &j
}

func (x *rig) job(id uint64) event.Redrive {
	x.t.Helper()
	j, err := x.ShowRedrive(context.Background(), id)
	if err != nil {
		x.t.Fatal(err)
	}
	return *j
}

func (x *rig) wantJob(id uint64, state event.RedriveState, done, skipped int) {
	x.t.Helper()
	if j := x.job(id); j.State != state || j.Done != done || j.Skipped != skipped || j.Failed != 0 || j.Ended.IsZero() != (state == event.RedriveRunning) {
		x.t.Errorf("redrive %d: %s, %d done, %d skipped, %d failed, ended %s; want %s, %d, %d, 0", id, j.State, j.Done, j.Skipped, j.Failed, j.Ended, state, done, skipped)
	}
}

func TestRedriveOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &failing{}, &failing{}
		x := newRig(t, twoHandlers(a, b))
		x.acceptMany("A", 50)
		x.acceptMany("B", 10)
		advance(time.Second)
		j := x.startRedrive(event.Redrive{Filter: event.Filter{Handler: "a"}, Rate: 20, Order: event.RedriveOrder{By: "bob", Detail: "fixed"}})
		for second := 1; second <= 2; second++ {
			advance(time.Second)
			if n := x.job(j.ID).Done; n < 20*second-1 || n > 20*second+1 {
				t.Errorf("after %ds %d are redriven; want 20 a second", second, n)
			}
		}
		advance(time.Second)
		x.wantJob(j.ID, event.RedriveCompleted, 50, 0)
		if n := len(b.redriven()); n != 0 {
			t.Errorf("%d events of b are redriven; want none", n)
		}
		for i := range 50 {
			rec := x.find(fmt.Sprint("A", i))
			if d := rec.Deliveries[0]; rec.Status != event.Completed || d.Generation != 1 {
				t.Errorf("%s: %s, generation %d; want COMPLETED, 1", rec.ID, rec.Status, d.Generation)
			}
			if n := a.redriven()[rec.ID]; n != 1 {
				t.Errorf("%s: handed out %d times; want once", rec.ID, n)
			}
		}
		rec := x.find("A0")
		if e := rec.Timeline[2]; e.Reason != event.Redriven || e.Detail != "generation 1 by bob, redrive 1: fixed" {
			t.Errorf("timeline says %q; want who asked for what", e.Detail)
		}
	})
}

// TestRedriveOfManyGoesOnAfterACrash takes the file as a kill would leave it at
// some moments, and goes on with each: no event is redriven twice, none is left.
func TestRedriveOfManyGoesOnAfterACrash(t *testing.T) {
	const events = 60
	for _, after := range []time.Duration{0, 130 * time.Millisecond, 1010 * time.Millisecond, 1310 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newRig(t, only(handlerTo("h", &failing{})))
				x.acceptMany("A", events)
				advance(time.Second)
				j := x.startRedrive(event.Redrive{Rate: 40})
				advance(after)
				before := x.job(j.ID)
				h := &failing{}
				y := x.crash(only(handlerTo("h", h)))
				advance(3 * time.Second)
				y.wantJob(j.ID, event.RedriveCompleted, events, 0)
				if n := len(h.redriven()); n < events-before.Done || before.Done == events {
					t.Errorf("%d of %d were left, %d were handed out", events-before.Done, events, n)
				}
				for i := range events {
					if d := y.find(fmt.Sprint("A", i)).Deliveries[0]; d.Generation != 1 || d.Status != event.Completed {
						t.Errorf("A%d: %s, generation %d; want COMPLETED, 1", i, d.Status, d.Generation)
					}
				}
			})
		})
	}
}

// TestRedriveTakesEachOnce: what fails again, or is stored meanwhile, is not the
// job's; what someone else has redriven since it began is left alone.
func TestRedriveTakesEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &failing{again: true}
		x := newRig(t, only(handlerTo("h", h)))
		x.acceptMany("A", 30)
		advance(time.Second)
		j := x.startRedrive(event.Redrive{Rate: 10})
		advance(time.Second)
		x.acceptMany("B", 5)
		if _, err := x.redrive("A29", event.RedriveOrder{}); err != nil {
			t.Fatal(err)
		}
		advance(5 * time.Second)
		x.wantJob(j.ID, event.RedriveCompleted, 29, 1)
		for id, n := range h.redriven() {
			if n != 1 || strings.HasPrefix(id, "B") {
				t.Errorf("%s was redriven %d times", id, n)
			}
		}
	})
}

func TestRedriveWaitsForAPausedHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := twoHandlers(&failing{}, &failing{})
		x := newRig(t, c)
		x.acceptMany("A", 10)
		advance(time.Second)
		x.pause("b", true)
		j := x.startRedrive(event.Redrive{Filter: event.Filter{Handler: "a"}, Order: event.RedriveOrder{Handler: "b"}, Rate: 1})
		advance(time.Minute)
		if s := x.job(j.ID); s.Done != 0 || s.Waiting != "handler b is paused (manual)" {
			t.Errorf("%d done, waiting: %q; want none, for b", s.Done, s.Waiting)
		}
		x.pause("b", false)
		advance(2500 * time.Millisecond)
		if s := x.job(j.ID); s.Done < 2 || s.Done > 4 || s.Waiting != "" {
			t.Errorf("%d done, waiting: %q; want about 3, not waiting", s.Done, s.Waiting)
		}
		c.Handlers = c.Handlers[:1]
		c.Routes = c.Routes[:1]
		x.reload(c)
		advance(2500 * time.Millisecond)
		stopped := x.job(j.ID)
		if stopped.Waiting != "handler b is not configured" {
			t.Errorf("waiting: %q; want for b to be configured", stopped.Waiting)
		}
		x.reload(twoHandlers(&failing{}, &failing{}))
		advance(time.Minute)
		x.wantJob(j.ID, event.RedriveCompleted, 10, 0)
	})
}

func TestOneRedriveForEachHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, twoHandlers(&failing{}, &failing{}))
		x.acceptMany("A", 10)
		x.acceptMany("B", 10)
		advance(time.Second)
		slow := event.Redrive{Filter: event.Filter{Handler: "a"}, Rate: 1}
		first := x.startRedrive(slow)
		for _, other := range []event.Redrive{slow, {}, {Filter: event.Filter{Handler: "b"}, Order: event.RedriveOrder{Handler: "a"}}} {
			if err := x.StartRedrive(context.Background(), &other); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "redrive 1 ") {
				t.Errorf("%+v beside the first: %v; want ErrConflict that names redrive 1", other, err)
			}
		}
		beside := x.startRedrive(event.Redrive{Filter: event.Filter{Handler: "b"}})
		advance(0)
		x.wantJob(beside.ID, event.RedriveCompleted, 10, 0)
		if _, err := x.CancelRedrive(context.Background(), first.ID); err != nil {
			t.Fatal(err)
		}
		advance(time.Hour)
		x.wantJob(first.ID, event.RedriveCancelled, 1, 0)
		if _, err := x.CancelRedrive(context.Background(), first.ID); !errors.Is(err, event.ErrConflict) {
			t.Errorf("cancelled twice: %v; want ErrConflict", err)
		}
		if _, err := x.CancelRedrive(context.Background(), 99); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("cancelled, and never there: %v; want ErrNotFound", err)
		}
		if err := x.StartRedrive(context.Background(), &event.Redrive{Filter: event.Filter{Handler: "none"}}); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("for no handler: %v; want ErrNotFound", err)
		}
		x.startRedrive(slow) // the way is free again
		list, err := x.Redrives(context.Background())
		if err != nil || len(list) != 3 || list[0].ID != first.ID || list[2].State != event.RedriveRunning {
			t.Errorf("Redrives = %+v, %v; want three, the last running", list, err)
		}
	})
}

// TestRedriveOfUnroutedEvents routes them anew, and passes over those that still
// have no route.
func TestRedriveOfUnroutedEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, twoHandlers(&failing{}, &failing{}))
		x.acceptMany("C", 4)
		x.acceptMany("A", 2)
		advance(time.Second)
		j := x.startRedrive(event.Redrive{Filter: event.Filter{Reason: event.NoRoute}})
		advance(0)
		x.wantJob(j.ID, event.RedriveCompleted, 0, 4)
		j = x.startRedrive(event.Redrive{Filter: event.Filter{Status: event.Error, MessageType: "C"}, Order: event.RedriveOrder{Handler: "a"}})
		advance(0)
		x.wantJob(j.ID, event.RedriveCompleted, 4, 0)
	})
}

// TestPlanOfARedrive: without a status it is about dead letters, and not about
// what is COMPLETED.
func TestPlanOfARedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, twoHandlers(&failing{}, &script{}))
		x.acceptMany("A", 20)
		x.acceptMany("B", 3)
		x.acceptMany("C", 1)
		advance(time.Second)
		p, err := x.PlanRedrive(context.Background(), &event.Redrive{})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(p.Events, p.Complete, p.ByStatus, p.ByMessageType, p.ByHandler, p.ByReason, len(p.Samples))
		if want := "21 true map[ERROR:21] map[A:20 C:1] map[a:20] map[no_route:1 rejected:20] 10"; got != want {
			t.Errorf("plan = %s; want %s", got, want)
		}
		p, err = x.PlanRedrive(context.Background(), &event.Redrive{Filter: event.Filter{Status: event.Completed}})
		if err != nil || p.Events != 3 || p.ByHandler["b"] != 3 {
			t.Errorf("plan of COMPLETED = %+v, %v; want the three of b", p, err)
		}
		if list, err := x.Redrives(context.Background()); err != nil || len(list) != 0 {
			t.Errorf("after a plan: %v, %v; want no redrive", list, err)
		}
	})
}

// TestRedriveWithAnotherPayload sends the new one, keeps the old one, and
// remembers over a restart which goes out.
func TestRedriveWithAnotherPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &failing{again: true}
		c := only(handlerTo("h", h))
		c.DeadLetter = "dead"
		x := newRig(t, c)
		x.accept(message("e1", "A", `{"amount":-1}`))
		advance(time.Second)
		if _, err := x.redrive("e1", event.RedriveOrder{Payload: []byte(`{"amount":1}`), Detail: "sign"}); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if got := string(h.last().Payload); got != `{"amount":1}` {
			t.Errorf("sent %s; want the new payload", got)
		}
		y := x.crash(c)
		if _, err := y.redrive("e1", event.RedriveOrder{}); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if got := h.last(); string(got.Payload) != `{"amount":1}` || got.Generation != 2 {
			t.Errorf("generation %d sent %s; want 2, the new payload", got.Generation, got.Payload)
		}
		rec := y.find("e1")
		if e := rec.Timeline[2]; e.Detail != "generation 1 by alice, with another payload: sign" {
			t.Errorf("timeline says %q", e.Detail)
		}
		rows, err := y.store.Payloads(context.Background(), rec.Seq)
		if err != nil || len(rows) != 2 || string(rows[0].Body) != `{"amount":-1}` || string(rows[1].Body) != `{"amount":1}` || rows[1].CreatedBy != "alice" {
			t.Errorf("payload rows %+v, %v; want the old one and alice's", rows, err)
		}
		var letters []string
		for _, p := range y.outbox() {
			letters = append(letters, string(p.Body))
		}
		if got := strings.Join(letters, " "); got != `{"amount":-1} {"amount":1} {"amount":1}` {
			t.Errorf("dead letters %s; want each with what was sent", got)
		}
	})
}

// TestRedriveRoutesByTheNewPayload: a route with a condition sees what will be
// sent.
func TestRedriveRoutesByTheNewPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &failing{}
		positive := route("A", "h")
		positive.When = "data.amount > 0"
		x := newRig(t, router.Config{Routes: []router.Route{positive}, Handlers: []router.Handler{handlerTo("h", h)}})
		x.accept(message("e1", "A", `{"amount":-1}`))
		advance(time.Second)
		if _, err := x.redrive("e1", event.RedriveOrder{}); !errors.Is(err, event.ErrConflict) {
			t.Errorf("unchanged: %v; want ErrConflict", err)
		}
		if _, err := x.redrive("e1", event.RedriveOrder{Payload: []byte(`{"amount":1}`)}); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if rec := x.find("e1"); rec.Status != event.Completed {
			t.Errorf("it is %s; want COMPLETED", rec.Status)
		}
	})
}

// TestRedriveOfOneHandlersShare: of a fan-out event only the delivery to the
// handler that is named is redriven; one that it has completed is left alone.
func TestRedriveOfOneHandlersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &failing{}, &failing{}
		x := newRig(t, router.Config{
			Routes:   []router.Route{route("A", "a", "b")},
			Handlers: []router.Handler{handlerTo("a", a), handlerTo("b", b)},
		})
		x.accept(message("e1", "A", "{}"))
		advance(time.Second)
		j := x.startRedrive(event.Redrive{Filter: event.Filter{Handler: "a"}})
		advance(time.Second)
		x.wantJob(j.ID, event.RedriveCompleted, 1, 0)
		rec := x.find("e1")
		if d := rec.Deliveries; d[0].Status != event.Completed || d[0].Generation != 1 || d[1].Status != event.Error || d[1].Generation != 0 {
			t.Errorf("deliveries %+v; want that to a redriven, that to b as it was", d)
		}
		for handler, want := range map[string]int{"a": 0, "b": 1, "": 1} {
			plan, err := x.PlanRedrive(context.Background(), &event.Redrive{Filter: event.Filter{Handler: handler}})
			if err != nil || plan.Events != want || plan.ByHandler["a"] != 0 || plan.ByHandler["b"] != want || len(plan.Samples) != want {
				t.Errorf("plan for %q = %+v, %v; want %d events, at b", handler, plan, err, want)
			}
		}
		j = x.startRedrive(event.Redrive{Filter: event.Filter{Handler: "a"}})
		advance(time.Second)
		x.wantJob(j.ID, event.RedriveCompleted, 0, 1)
		if n := len(b.redriven()); n != 0 || a.redriven()["e1"] != 1 {
			t.Errorf("a got it %d times, b %d; want 1, 0", a.redriven()["e1"], n)
		}
	})
}
