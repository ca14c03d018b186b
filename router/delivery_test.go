package router_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// everyShare has an event e1 with a delivery in each status.
func everyShare(t *testing.T) (*rig, *gate) {
	t.Helper()
	gate := newGate()
	c := fanOut(gate)
	c.Routes = append(c.Routes, route("ALL", "ok", "bad", "busy", "hang", "paused", "once"))
	once := withPolicy(handlerTo("once", &script{answers: []event.Answer{again}}), late)
	once.Policy.MaxAttempts = 1
	c.Handlers = append(c.Handlers, once)
	x := newRig(t, c)
	x.pause("paused", true)
	x.accept(message("e1", "ALL", "{}"))
	gate.next(t)
	synctest.Wait()
	x.wantShares("e1", "ok 0 COMPLETED, bad 0 ERROR rejected, busy 0 RETRY http_503, hang 0 IN_PROGRESS, paused 0 UNPROCESSED, once 0 FAILED exhausted")
	return x, gate
}

func (x *rig) wantShares(id, want string) {
	x.t.Helper()
	if got := deliveriesOf(x.find(id)); got != want {
		x.t.Errorf("%s: %s; want %s", id, got, want)
	}
}

// TestRedriveOfOneDelivery: whatever the others are, and they stay so.
func TestRedriveOfOneDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, gate := everyShare(t)
		before := x.find("e1")
		for _, name := range []string{"hang", "paused"} {
			_, err := x.redrive("e1", event.RedriveOrder{Of: name})
			if !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "the delivery to "+name+" is ") {
				t.Errorf("redrive of %s = %v; want a conflict that says why", name, err)
			}
		}
		if _, err := x.redrive("e1", event.RedriveOrder{Of: "good"}); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("redrive of a delivery it does not have = %v; want ErrNotFound", err)
		}
		for what, o := range map[string]event.RedriveOrder{
			"to a handler that has one": {Of: "bad", Handler: "ok"},
			"with a payload for others": {Of: "bad", Payload: []byte("{}")},
		} {
			if _, err := x.redrive("e1", o); !errors.Is(err, event.ErrConflict) {
				t.Errorf("redrive %s = %v; want ErrConflict", what, err)
			}
		}
		if got := shape(x.find("e1")); got != shape(before) {
			t.Errorf("timeline = %s; want it as it was, %s", got, shape(before))
		}
		for _, c := range []struct{ name, want string }{
			{"bad", "ok 0 COMPLETED, bad 1 COMPLETED, busy 0 RETRY http_503, hang 0 IN_PROGRESS, paused 0 UNPROCESSED, once 0 FAILED exhausted"},
			{"ok", "ok 1 COMPLETED, bad 1 COMPLETED, busy 0 RETRY http_503, hang 0 IN_PROGRESS, paused 0 UNPROCESSED, once 0 FAILED exhausted"},
			{"busy", "ok 1 COMPLETED, bad 1 COMPLETED, busy 1 RETRY http_503, hang 0 IN_PROGRESS, paused 0 UNPROCESSED, once 0 FAILED exhausted"},
			{"once", "ok 1 COMPLETED, bad 1 COMPLETED, busy 1 RETRY http_503, hang 0 IN_PROGRESS, paused 0 UNPROCESSED, once 1 FAILED exhausted"},
		} {
			if _, err := x.redrive("e1", event.RedriveOrder{Of: c.name, Detail: "again"}); err != nil {
				t.Errorf("redrive of %s: %v", c.name, err)
			}
			synctest.Wait()
			x.wantShares("e1", c.want)
		}
		rec := x.find("e1")
		for _, e := range rec.Timeline[len(before.Timeline):] {
			if e.Reason == event.Redriven && (e.Detail != "generation 1 by alice: again" || e.Handler == "") {
				t.Errorf("entry %+v; want generation 1 by alice: again, and whose it is", e)
			}
		}
		gate.answers <- done
		x.pause("paused", false)
		synctest.Wait()
		x.wantShares("e1", "ok 1 COMPLETED, bad 1 COMPLETED, busy 1 RETRY http_503, hang 0 COMPLETED, paused 0 COMPLETED, once 1 FAILED exhausted")
	})
}

// TestRedriveOfOneDeliveryElsewhere hands one share to another handler, over a
// restart, with another payload once the others have ended.
func TestRedriveOfOneDeliveryElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &script{answers: []event.Answer{rejected}}, &script{}
		c := router.Config{
			Routes:   []router.Route{route("A", "ok", "bad")},
			Handlers: []router.Handler{handlerTo("ok", &script{}), handlerTo("bad", bad), handlerTo("good", good)},
		}
		x := newRig(t, c)
		x.accept(message("e1", "A", `{"n":1}`))
		synctest.Wait()
		x.pause("good", true)
		if _, err := x.redrive("e1", event.RedriveOrder{Of: "bad", Handler: "good", Payload: []byte(`{"n":2}`)}); err != nil {
			t.Fatal(err)
		}
		if rec := x.find("e1"); rec.Status != event.Unprocessed || rec.UpdatedBy != "alice" {
			t.Errorf("event = %s by %s; want UNPROCESSED by alice", rec.Status, rec.UpdatedBy)
		}
		y := openRig(t, copyOf(t, x.path), c)
		y.pause("good", false)
		synctest.Wait()
		y.wantShares("e1", "ok 0 COMPLETED, good 1 COMPLETED")
		if a := good.last(); string(a.Payload) != `{"n":2}` || a.Generation != 1 || a.Number != 1 || bad.count() != 1 {
			t.Errorf("attempt = %+v, %d at bad; want the first of generation 1 with the new payload, 1 at bad", a, bad.count())
		}
		if rec := y.find("e1"); rec.Status != event.Completed {
			t.Errorf("event = %s; want COMPLETED", rec.Status)
		}
	})
}

func TestCancelOfOneDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, gate := everyShare(t)
		cancel := func(name string) error {
			_, err := x.Cancel(context.Background(), x.find("e1").Seq, event.CancelOrder{Of: name, By: "bob", Detail: "enough"})
			return err
		}
		letters := len(x.outbox())
		for _, name := range []string{"ok", "hang", "once"} {
			if err := cancel(name); !errors.Is(err, event.ErrConflict) {
				t.Errorf("cancel of %s = %v; want ErrConflict", name, err)
			}
		}
		if err := cancel("good"); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("cancel of a delivery it does not have = %v; want ErrNotFound", err)
		}
		for _, name := range []string{"bad", "busy", "paused"} {
			if err := cancel(name); err != nil {
				t.Errorf("cancel of %s: %v", name, err)
			}
		}
		x.wantShares("e1", "ok 0 COMPLETED, bad 0 FAILED cancelled, busy 0 FAILED cancelled, hang 0 IN_PROGRESS, paused 0 FAILED cancelled, once 0 FAILED exhausted")
		if n := len(x.outbox()) - letters; n != 3 {
			t.Errorf("%d dead letters; want 3", n)
		}
		x.pause("paused", false)
		gate.answers <- done
		advance(2 * time.Hour)
		rec := x.find("e1")
		x.wantShares("e1", "ok 0 COMPLETED, bad 0 FAILED cancelled, busy 0 FAILED cancelled, hang 0 COMPLETED, paused 0 FAILED cancelled, once 0 FAILED exhausted")
		if rec.Status != event.Failed {
			t.Errorf("event = %s; want FAILED: all have ended, not all COMPLETED", rec.Status)
		}
	})
}

// TestSharesOverARestart: each delivery of a fan-out goes on by itself, and the
// event's status is that of the least finished one.
func TestSharesOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := everyShare(t)
		if rec := x.find("e1"); rec.Status != event.Unprocessed {
			t.Errorf("event = %s; want that of the least finished delivery, UNPROCESSED", rec.Status)
		}
		c := fanOut(newGate())
		for i := range c.Handlers {
			c.Handlers[i].Deliverer, c.Handlers[i].Policy = &script{}, quick
		}
		c.Handlers = append(c.Handlers, handlerTo("once", &script{}))
		y := openRig(t, copyOf(t, x.path), c)
		y.pause("paused", false)
		synctest.Wait()
		y.wantShares("e1", "ok 0 COMPLETED, bad 0 ERROR rejected, busy 0 RETRY http_503, hang 0 RETRY interrupted, paused 0 COMPLETED, once 0 FAILED exhausted")
		if rec := y.find("e1"); rec.Status != event.Retry || rec.Deliveries[3].Attempts != 1 {
			t.Errorf("event = %s with %d attempts at hang; want RETRY and 1", rec.Status, rec.Deliveries[3].Attempts)
		}
		advance(2 * time.Hour)
		y.wantShares("e1", "ok 0 COMPLETED, bad 0 ERROR rejected, busy 0 COMPLETED, hang 0 COMPLETED, paused 0 COMPLETED, once 0 FAILED exhausted")
		if rec := y.find("e1"); rec.Status != event.Failed {
			t.Errorf("event = %s; want FAILED once all have ended", rec.Status)
		}
	})
}
