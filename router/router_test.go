package router_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

func TestRetriesUntilTheHandlerAnswers(t *testing.T) {
	again := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Code: 503}
	h := &script{answers: []event.Answer{again, again, {Outcome: event.Done, Code: 200}}}
	x := newRig(t, router.Config{
		Routes:   []router.Route{{Name: "r", MessageTypes: []string{"RQ_*"}, Handlers: []string{"h"}}},
		Handlers: []router.Handler{handlerTo("h", h)},
	})
	x.accept(message("e1", "RQ_A", "{}"))
	rec := x.await("e1", event.Completed)
	const want = "IN_PROGRESS RETRY IN_PROGRESS RETRY IN_PROGRESS COMPLETED"
	if got := statuses(rec); got != want {
		t.Errorf("timeline = %s; want %s", got, want)
	}
	if d := rec.Deliveries[0]; d.Attempts != 3 || rec.UpdatedBy != "H" {
		t.Errorf("attempts = %d, updated by %s; want 3, H", d.Attempts, rec.UpdatedBy)
	}
}

func TestManyEventsThroughFewSlots(t *testing.T) {
	h := &script{}
	x := newRig(t, router.Config{
		Routes:   []router.Route{{Name: "r", MessageTypes: []string{"*"}, Handlers: []string{"h"}}},
		Handlers: []router.Handler{handlerTo("h", h)},
	})
	const n = 2000
	var ids []string
	for i := range n / 100 {
		var batch []event.Message
		for j := range 100 {
			ids = append(ids, fmt.Sprint("e", i*100+j))
			batch = append(batch, message(ids[len(ids)-1], "T", "{}"))
		}
		x.accept(batch...)
	}
	for _, id := range ids {
		x.await(id, event.Completed)
	}
	if h.count() != n {
		t.Errorf("%d executions; want %d", h.count(), n)
	}
}

func TestFollowUpsAreStoredAndRouted(t *testing.T) {
	first := deliver(func(_ context.Context, a *event.Attempt) event.Answer {
		return event.Answer{Outcome: event.Done, FollowUps: []event.Message{
			{Event: event.Event{MessageType: "B", ID: "named"}, Payload: []byte("1")},
			{Event: event.Event{MessageType: "B"}, Payload: []byte("2")},
		}}
	})
	second := &script{}
	x := newRig(t, router.Config{
		Routes: []router.Route{
			{Name: "a", MessageTypes: []string{"A"}, Handlers: []string{"first"}},
			{Name: "b", MessageTypes: []string{"B"}, Handlers: []string{"second"}},
		},
		Handlers: []router.Handler{handlerTo("first", first), handlerTo("second", second)},
	})
	x.accept(message("e1", "A", "{}"))
	x.await("named", event.Completed)
	x.await("e1", event.Completed)
	list, _, err := x.store.List(context.Background(), event.Filter{CorrelationID: "e1"}, event.Page{Limit: 10})
	if err != nil || len(list) != 3 {
		t.Fatalf("conversation of e1 has %d events, %v; want 3", len(list), err)
	}
	for _, rec := range list[:2] {
		if rec.Table != event.Request || rec.CausationID != "e1" || rec.CreatedBy != "FIRST" || rec.Hops != 1 {
			t.Errorf("follow-up %s: table %s, causation %s, created by %s, %d hops; want request, e1, FIRST, 1",
				rec.ID, rec.Table, rec.CausationID, rec.CreatedBy, rec.Hops)
		}
	}
}

func TestUnroutedEventIsTakenUpByAReload(t *testing.T) {
	h := &script{}
	handlers := []router.Handler{handlerTo("h", h)}
	x := newRig(t, router.Config{Handlers: handlers, DeadLetter: "dead"})
	x.accept(message("e1", "A", "{}"))
	rec := x.await("e1", event.Error)
	if rec.Reason != event.NoRoute {
		t.Errorf("reason = %s; want no_route", rec.Reason)
	}
	out, err := x.store.Outbox(context.Background(), 0, 10)
	if err != nil || len(out) != 1 || out[0].Header["eventd-reason"] != "no_route" || string(out[0].Body) != "{}" {
		t.Errorf("dead letters = %v, %v; want one for no_route", out, err)
	}
	err = x.Reload(router.Config{
		Handlers: handlers,
		Routes:   []router.Route{{Name: "r", MessageTypes: []string{"A"}, Handlers: []string{"h"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	x.await("e1", event.Completed)
}

func TestFanOutEndsWithItsWorstDelivery(t *testing.T) {
	x := newRig(t, router.Config{
		Routes: []router.Route{{Name: "r", MessageTypes: []string{"A"}, Handlers: []string{"good", "bad"}}},
		Handlers: []router.Handler{
			handlerTo("good", &script{}),
			handlerTo("bad", &script{answers: []event.Answer{{Outcome: event.Never, Reason: event.Rejected, Code: 400}}}),
		},
	})
	x.accept(message("e1", "A", "{}"))
	rec := x.await("e1", event.Error)
	got := []event.Status{rec.Deliveries[0].Status, rec.Deliveries[1].Status}
	if !slices.Equal(got, []event.Status{event.Completed, event.Error}) {
		t.Errorf("deliveries = %v; want COMPLETED, ERROR", got)
	}
}
