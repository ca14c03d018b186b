package router_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// script answers each attempt of an event with the next of its answers, and
// the last for all further ones.
type script struct {
	mu      sync.Mutex
	answers []event.Answer
	calls   []event.Attempt
}

func (s *script) Deliver(_ context.Context, a *event.Attempt) event.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, *a)
	if len(s.answers) == 0 {
		return event.Answer{Outcome: event.Done, Code: 200}
	}
	return s.answers[min(a.Number, len(s.answers))-1]
}

type deliver func(context.Context, *event.Attempt) event.Answer

func (f deliver) Deliver(ctx context.Context, a *event.Attempt) event.Answer { return f(ctx, a) }

type noObserver struct{}

func (noObserver) EventReceived(string, string)                                    {}
func (noObserver) EventDuplicate(string)                                           {}
func (noObserver) EventEnded(string, time.Duration)                                {}
func (noObserver) DeliveryEnded(string, event.Status, event.Reason, time.Duration) {}
func (noObserver) RetryLateness(time.Duration)                                     {}

var quick = retry.Policy{Backoff: retry.Constant, Initial: 5 * time.Millisecond, MaxAttempts: 4}

type rig struct {
	*router.Router
	t     testing.TB
	store *storage.DB
}

func newRig(t testing.TB, c router.Config) *rig {
	t.Helper()
	return openRig(t, filepath.Join(t.TempDir(), "eventd.db"), c)
}

func openRig(t testing.TB, path string, c router.Config) *rig {
	t.Helper()
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.New(router.Options{Service: "SERVICE_A", Store: db, Observer: noObserver{}, Log: zerolog.Nop()}, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	x := &rig{Router: r, t: t, store: db}
	t.Cleanup(x.close)
	return x
}

func (x *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	x.Stop(ctx)
	if err := x.store.Close(); err != nil {
		x.t.Error(err)
	}
}

func handlerTo(name string, d router.Deliverer) router.Handler {
	return router.Handler{Name: name, Service: strings.ToUpper(name), Concurrency: 4, Policy: quick, Deliverer: d}
}

func message(id, messageType, payload string) event.Message {
	return event.Message{
		Event:   event.Event{Table: event.Inbound, ID: id, MessageType: messageType, SourceService: "UPSTREAM", CreatedBy: "UPSTREAM"},
		Payload: []byte(payload),
	}
}

func (x *rig) accept(m ...event.Message) {
	x.t.Helper()
	if _, err := x.Accept(context.Background(), m); err != nil {
		x.t.Fatal(err)
	}
}

// await returns the only event with the given id once it has the status.
func (x *rig) await(id string, want event.Status) event.Record {
	x.t.Helper()
	var last event.Record
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		list, err := x.store.Find(context.Background(), id)
		if err != nil {
			x.t.Fatal(err)
		}
		if len(list) > 0 && list[0].Status == want {
			return list[0]
		}
		if len(list) > 0 {
			last = list[0]
		}
	}
	x.t.Fatalf("event %s is %s %s after 5s; want %s", id, last.Status, last.Reason, want)
	return last
}

func statuses(rec event.Record) string {
	var list []string
	for _, e := range rec.Timeline {
		list = append(list, e.Status.String())
	}
	return strings.Join(list, " ")
}

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
	if len(h.calls) != n {
		t.Errorf("%d executions; want %d", len(h.calls), n)
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
