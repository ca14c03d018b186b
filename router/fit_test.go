package router_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// wants is a schema that payloads fit which contain it.
type wants string

func (w wants) Check(payload []byte) string {
	if strings.Contains(string(payload), string(w)) {
		return ""
	}
	return "/x: no " + string(w)
}

func fitting(r router.Route, schema string) router.Route {
	r.Schema = wants(schema)
	return r
}

const unfitForA = "the payload does not fit the schema of route to-A: /x: no good"

func TestPayloadThatDoesNotFitItsRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, told := &script{}, &ledger{}
		r := fitting(route("A", "h"), "good")
		r.Remember = map[string]string{"seen": "1"}
		c := router.Config{Routes: []router.Route{r, route("*", "h")}, Handlers: []router.Handler{handlerTo("h", h)}, DeadLetter: "dead"}
		x := openObserved(t, filepath.Join(t.TempDir(), "eventd.db"), told, c)
		x.accept(message("bad", "A", "evil"), message("ok", "A", "good"))
		synctest.Wait()
		rec := x.find("bad")
		if shape(rec) != "ERROR invalid" || rec.Status != event.Error || rec.Reason != event.Invalid || rec.Deliveries[0].Attempts != 0 {
			t.Errorf("bad: %s, %s %s", shape(rec), rec.Status, rec.Reason)
		}
		if d := rec.Deliveries[0]; d.Handler != "h" || d.Route != "to-A" || rec.Timeline[0].Detail != unfitForA {
			t.Errorf("bad: to %s by %s: %s; want to h by to-A: %s", d.Handler, d.Route, rec.Timeline[0].Detail, unfitForA)
		}
		if _, err := x.WorkingData(context.Background(), "bad"); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("working data of bad: %v; want none", err)
		}
		if rec := x.find("ok"); rec.Status != event.Completed || h.count() != 1 {
			t.Errorf("ok is %s, %d executions; want COMPLETED, 1", rec.Status, h.count())
		}
		if got, want := told.told(), "A ended; A ended; h: COMPLETED "; got != want {
			t.Errorf("the observer was told %q; want %q", got, want)
		}
		if dead := x.outbox(); len(dead) != 1 || dead[0].Header["eventd-reason"] != "invalid" || dead[0].Header["eventd-detail"] != unfitForA {
			t.Errorf("dead letters: %+v; want one, invalid", dead)
		}
	})
}

// TestOneRouteOfSeveralDoesNotFit: the others get the event.
func TestOneRouteOfSeveralDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		audit, h := &script{}, &script{}
		first := route("A", "audit")
		first.Name, first.Continue = "audit", true
		x := newRig(t, router.Config{
			Routes:   []router.Route{first, fitting(route("A", "h", "audit"), "good"), route("*", "audit")},
			Handlers: []router.Handler{handlerTo("audit", audit), handlerTo("h", h)},
		})
		x.accept(message("bad", "A", "evil"))
		synctest.Wait()
		rec := x.find("bad")
		if rec.Status != event.Error || rec.Reason != event.Invalid || len(rec.Deliveries) != 2 {
			t.Fatalf("%s %s with %d deliveries; want ERROR invalid with 2", rec.Status, rec.Reason, len(rec.Deliveries))
		}
		if rec.Deliveries[0].Status != event.Completed || audit.count() != 1 || h.count() != 0 {
			t.Errorf("audit is %s after %d executions, h was called %d times; want COMPLETED, 1, 0", rec.Deliveries[0].Status, audit.count(), h.count())
		}
		if _, err := x.redrive("bad", event.RedriveOrder{Of: "h"}); !errors.Is(err, event.ErrConflict) {
			t.Errorf("redrive of the delivery to h: %v; want ErrConflict", err)
		}
		if _, err := x.redrive("bad", event.RedriveOrder{Of: "audit"}); err != nil {
			t.Errorf("redrive of the delivery to audit: %v", err)
		}
		synctest.Wait()
		rec, err := x.redrive("bad", event.RedriveOrder{Payload: []byte("good")})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if rec = x.find("bad"); rec.Status != event.Completed || audit.count() != 2 || h.count() != 1 {
			t.Errorf("%s after %d and %d executions; want COMPLETED after 2 and 1", rec.Status, audit.count(), h.count())
		}
	})
}

// TestRedriveOfACompletedShareChecksAgain: one that is named is handed out again
// though it is COMPLETED, so its payload has to fit.
func TestRedriveOfACompletedShareChecksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := router.Config{
			Routes:   []router.Route{route("A", "h", "bad")},
			Handlers: []router.Handler{handlerTo("h", &script{}), handlerTo("bad", &script{answers: []event.Answer{rejected}})},
		}
		x := newRig(t, c)
		x.accept(message("e1", "A", "evil"))
		synctest.Wait()
		c.Routes[0] = fitting(c.Routes[0], "good")
		x.reload(c)
		if _, err := x.redrive("e1", event.RedriveOrder{Of: "h"}); !errors.Is(err, event.ErrConflict) {
			t.Errorf("redrive of the delivery to h: %v; want ErrConflict", err)
		}
	})
}

func TestRedriveChecksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		strict := router.Config{Routes: []router.Route{fitting(route("A", "h"), "good"), route("B", "h")}, Handlers: []router.Handler{handlerTo("h", h), handlerTo("desk", h)}}
		x := newRig(t, strict)
		x.accept(message("bad", "A", "evil"), message("other", "A", "evil"))
		for _, o := range []event.RedriveOrder{{}, {Payload: []byte("worse")}} {
			_, err := x.redrive("bad", o)
			if !errors.Is(err, event.ErrConflict) || !strings.HasPrefix(err.Error(), unfitForA) {
				t.Errorf("redrive %+v: %v; want a conflict: %s", o, err, unfitForA)
			}
		}
		if rec := x.find("bad"); shape(rec) != "ERROR invalid" {
			t.Errorf("after refused redrives it is %s", shape(rec))
		}
		if _, err := x.redrive("other", event.RedriveOrder{Handler: "desk"}); err != nil {
			t.Errorf("to a handler that is named: %v", err)
		}
		loose := strict
		loose.Routes = []router.Route{fitting(route("A", "h"), "evil")}
		x.reload(loose)
		synctest.Wait()
		if rec := x.find("bad"); shape(rec) != "ERROR invalid" {
			t.Errorf("a reload took it up: %s", shape(rec))
		}
		if _, err := x.redrive("bad", event.RedriveOrder{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if rec := x.find("bad"); rec.Status != event.Completed {
			t.Errorf("bad is %s; want COMPLETED", rec.Status)
		}
	})
}

func TestRedriveOfManyPassesOverWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		x := newRig(t, router.Config{
			Routes: []router.Route{fitting(route("A", "h"), "good")}, Handlers: []router.Handler{handlerTo("h", h)},
			Schemas: map[string]router.Checker{"in": wants("sound")},
		})
		x.accept(message("1", "A", "evil"), message("2", "A", "bad"))
		forged := message("3", "", "good")
		forged.Problem, forged.Detail = event.Invalid, "the signature is not right"
		x.accept(forged)
		x.reload(router.Config{
			Routes: []router.Route{fitting(route("A", "h"), "evil"), route("*", "h")}, Handlers: []router.Handler{handlerTo("h", h)},
		})
		advance(1)
		j := &event.Redrive{Filter: event.Filter{Reason: event.Invalid}}
		if err := x.StartRedrive(context.Background(), j); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ended, err := x.ShowRedrive(context.Background(), j.ID)
		if err != nil || ended.Done != 1 || ended.Skipped != 2 || ended.Failed != 0 {
			t.Errorf("redrive: %+v, %v; want 1 done, 2 skipped", ended, err)
		}
		for id, want := range map[string]event.Status{"1": event.Completed, "2": event.Error, "3": event.Error} {
			if rec := x.find(id); rec.Status != want {
				t.Errorf("%s is %s; want %s", id, rec.Status, want)
			}
		}
	})
}

// TestRedriveOfWhatItsSourceRefused: no route has had it, so that it is routed
// once it fits.
func TestRedriveOfWhatItsSourceRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		c := only(handlerTo("h", h))
		c.Schemas = map[string]router.Checker{"in": wants("good")}
		x := newRig(t, c)
		m := message("bad", "A", "evil")
		m.Source, m.Problem, m.Detail = "in", event.Invalid, "/x: no good"
		x.accept(m)
		const want = "the payload does not fit the schema of source in: /x: no good"
		for _, o := range []event.RedriveOrder{{}, {Payload: []byte("worse")}} {
			if _, err := x.redrive("bad", o); !errors.Is(err, event.ErrConflict) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("redrive %+v: %v; want a conflict: %s", o, err, want)
			}
		}
		if _, err := x.redrive("bad", event.RedriveOrder{Payload: []byte("good")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if rec := x.find("bad"); rec.Status != event.Completed || string(h.last().Payload) != "good" {
			t.Errorf("bad is %s; want COMPLETED with the other payload", rec.Status)
		}
	})
}

// TestUnverifiedIsNotRouted: what a message with a wrong signature says is not
// believed, so a route for any type does not get it; a person may name a handler.
func TestUnverifiedIsNotRouted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		x := newRig(t, only(handlerTo("h", h)))
		forged := message("f", "", "{}")
		forged.Problem, forged.Detail = event.Invalid, "the signature is not right"
		x.accept(forged)
		refuse := func() {
			t.Helper()
			for _, o := range []event.RedriveOrder{{}, {Payload: []byte("{}")}} {
				if _, err := x.redrive("f", o); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "signature") {
					t.Errorf("redrive %+v: %v; want a conflict that speaks of the signature", o, err)
				}
			}
		}
		refuse()
		if _, err := x.Cancel(context.Background(), x.find("f").Seq, event.CancelOrder{}); err != nil {
			t.Fatal(err)
		}
		refuse()
		if _, err := x.redrive("f", event.RedriveOrder{Handler: "h"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if rec := x.find("f"); rec.Status != event.Completed || h.count() != 1 {
			t.Errorf("%s after %d executions; want COMPLETED after 1", rec.Status, h.count())
		}
	})
}

// TestTakenUpAndUnfit: an event that had no route gets one, which its payload
// does not fit.
func TestTakenUpAndUnfit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		x := newRig(t, router.Config{DeadLetter: "dead"})
		x.accept(message("bad", "A", "evil"), message("ok", "A", "good"))
		x.reload(router.Config{
			Routes: []router.Route{fitting(route("A", "h"), "good")}, Handlers: []router.Handler{handlerTo("h", h)}, DeadLetter: "dead",
		})
		synctest.Wait()
		if rec := x.find("bad"); shape(rec) != "ERROR no_route, ERROR invalid" || rec.Reason != event.Invalid || rec.Deliveries[0].Route != "to-A" {
			t.Errorf("bad: %s", shape(rec))
		}
		if rec := x.find("ok"); rec.Status != event.Completed {
			t.Errorf("ok is %s; want COMPLETED", rec.Status)
		}
		if n := len(x.outbox()); n != 3 {
			t.Errorf("%d dead letters; want 3: two without route, one that does not fit", n)
		}
	})
}

func TestFollowUpThatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := replying(1, "B")
		h := &script{answers: []event.Answer{answer}}
		x := newRig(t, router.Config{Routes: []router.Route{route("A", "h"), fitting(route("B", "h"), "good")}, Handlers: []router.Handler{handlerTo("h", h)}})
		x.accept(message("parent", "A", "{}"))
		synctest.Wait()
		if rec := x.find("parent"); rec.Status != event.Completed {
			t.Errorf("parent is %s; want COMPLETED", rec.Status)
		}
		for _, rec := range x.all() {
			if rec.MessageType == "B" && rec.Reason != event.Invalid {
				t.Errorf("the follow-up is %s %s; want ERROR invalid", rec.Status, rec.Reason)
			}
		}
	})
}

func TestExplainSaysThatThePayloadDoesNotFit(t *testing.T) {
	x := newRig(t, router.Config{
		Routes: []router.Route{fitting(route("A", "h"), "good"), route("*", "h")}, Handlers: []router.Handler{handlerTo("h", &script{})},
	})
	list := x.Explain(message("1", "A", "evil"))
	if e := list[0]; !e.Matched || e.Flaw != unfitForA || e.Why != "matched, but not handed on: "+unfitForA {
		t.Errorf("explained: %+v", e)
	}
	if e := list[1]; e.Matched || !strings.HasPrefix(e.Why, "not asked") {
		t.Errorf("the route after it: %+v; want it not asked", e)
	}
	if e := x.Explain(message("1", "A", "good"))[0]; e.Flaw != "" || e.Why != "matched" {
		t.Errorf("explained: %+v", e)
	}
}
