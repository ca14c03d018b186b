package router_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// replying answers each attempt with so many unnamed follow-ups of a type.
func replying(n int, messageType string) event.Answer {
	a := done
	for i := range n {
		a.FollowUps = append(a.FollowUps, event.Message{Event: event.Event{MessageType: messageType}, Payload: []byte(fmt.Sprint(i))})
	}
	return a
}

// children returns the payload of each follow-up of an event by its id.
func (x *rig) children(parent string) map[string]string {
	x.t.Helper()
	list := map[string]string{}
	for _, rec := range x.all() {
		if rec.CausationID != parent {
			continue
		}
		payload, err := x.store.Payload(context.Background(), rec.Seq)
		if err != nil {
			x.t.Fatal(err)
		}
		list[rec.ID] = string(payload)
	}
	return list
}

// TestFollowUpsOfARepeatedExecutionAreTheSame: after a crash the handler is
// asked again, and what it made twice has the same ids.
func TestFollowUpsOfARepeatedExecutionAreTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newGate(), newGate()
		config := func(g *gate) router.Config {
			return router.Config{
				Routes:   []router.Route{route("A", "h"), route("B", "other")},
				Handlers: []router.Handler{withPolicy(handlerTo("h", g), patient), handlerTo("other", &script{})},
			}
		}
		x := newRig(t, config(first))
		x.accept(message("e1", "A", "{}"))
		first.next(t)
		synctest.Wait()
		y := x.crash(config(second))
		first.answers <- replying(3, "B")
		if a := second.next(t); a.Number != 2 {
			t.Errorf("the repeated attempt is number %d; want 2", a.Number)
		}
		second.answers <- replying(3, "B")
		synctest.Wait()
		got, want := y.children("e1"), x.children("e1")
		if len(want) != 3 || !maps.Equal(got, want) {
			t.Errorf("follow-ups of the second execution: %v; want those of the first, %v", got, want)
		}
	})
}

func TestFollowUpsDifferByHandlerAndGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := deliver(func(context.Context, *event.Attempt) event.Answer {
			a := replying(2, "B")
			a.FollowUps = append(a.FollowUps, event.Message{Event: event.Event{ID: "named", MessageType: "B"}})
			return a
		})
		x := newRig(t, router.Config{
			Routes:   []router.Route{route("A", "h", "i"), route("B", "other")},
			Handlers: []router.Handler{handlerTo("h", reply), handlerTo("i", reply), handlerTo("other", &script{})},
		})
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		before := x.children("e1")
		if len(before) != 2*2+1 {
			t.Errorf("%d ids of follow-ups; want 5: %v", len(before), before)
		}
		if _, err := x.redrive("e1", event.RedriveOrder{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		after := x.children("e1")
		if len(after) != 2*4+1 {
			t.Errorf("%d ids of follow-ups after a redrive; want 9: %v", len(after), after)
		}
		list := x.all()
		if len(list) != 1+8+2 { // each handler's service names one, which is there already the second time
			t.Errorf("%d events; want 11", len(list))
		}
		for _, rec := range list {
			if rec.Status != event.Completed {
				t.Errorf("%s is %s; want COMPLETED", rec.ID, rec.Status)
			}
		}
	})
}

func TestDuplicatesAmongFollowUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		reply := deliver(func(context.Context, *event.Attempt) event.Answer {
			a := done
			for _, id := range []string{"x", "y", "x", "x"} {
				a.FollowUps = append(a.FollowUps, event.Message{Event: event.Event{ID: id, MessageType: "B"}})
			}
			return a
		})
		x := newRig(t, router.Config{
			Routes:   []router.Route{route("A", "h"), route("B", "i")},
			Handlers: []router.Handler{handlerTo("h", reply), withConcurrency(handlerTo("i", h), 2)},
		})
		synctest.Wait()
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Completed {
			t.Errorf("the event is %s; want COMPLETED", rec.Status)
		}
		if h.count() != 2 || x.info("i").InFlight != 0 {
			t.Errorf("%d executions of its follow-ups, %d slots taken; want 2, 0", h.count(), x.info("i").InFlight)
		}
	})
}

func TestLoopOfFollowUpsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := only(handlerTo("h", deliver(func(context.Context, *event.Attempt) event.Answer { return replying(1, "A") })))
		c.DeadLetter = "dead"
		x := newRig(t, c)
		x.accept(message("e0", "A", "{}"))
		synctest.Wait()
		list := x.all()
		if len(list) != event.MaxHops+2 {
			t.Fatalf("%d events; want %d", len(list), event.MaxHops+2)
		}
		for i, rec := range list {
			want := event.Completed
			if i > event.MaxHops {
				want = event.Error
			}
			if rec.Hops != i || rec.Status != want || rec.CorrelationID != "e0" {
				t.Errorf("event %d: %d hops, %s, correlation %s; want %d, %s, e0", i, rec.Hops, rec.Status, rec.CorrelationID, i, want)
			}
		}
		if last := list[len(list)-1]; last.Reason != event.Loop || len(last.Deliveries) != 0 {
			t.Errorf("the last is %s with %d deliveries; want loop, none", last.Reason, len(last.Deliveries))
		}
		if out := x.outbox(); len(out) != 1 || out[0].Header["eventd-reason"] != "loop" {
			t.Errorf("dead letters = %v; want one for loop", out)
		}
	})
}

// TestFollowUpsAreStoredWithTheirParent watches a thousand of them appear at once.
func TestFollowUpsAreStoredWithTheirParent(t *testing.T) {
	const n = 1000
	gate := newGate()
	x := newRig(t, router.Config{
		Routes:   []router.Route{route("A", "h"), route("B", "other")},
		Handlers: []router.Handler{handlerTo("h", gate), handlerTo("other", &script{})},
	})
	x.accept(message("e1", "A", "{}"))
	gate.next(t)
	reply := replying(n, "B")
	reply.FollowUps[0].ID, reply.FollowUps[n-1].ID = "first", "last"
	gate.answers <- reply
	there := func(id string) bool {
		list, err := x.store.Find(context.Background(), id)
		return err == nil && len(list) == 1
	}
	until(t, "the parent is COMPLETED", func() bool {
		child := there("first")
		parent := x.find("e1").Status == event.Completed
		if child && !parent || parent && !(there("first") && there("last")) {
			t.Fatalf("first follow-up there: %t, parent COMPLETED: %t, last there: %t", child, parent, there("last"))
		}
		return parent
	})
	until(t, "all follow-ups are COMPLETED", func() bool { return x.store.Counts()[event.Request][event.Completed] == n })
	payloads := slices.Sorted(maps.Values(x.children("e1")))
	if len(slices.Compact(payloads)) != n {
		t.Errorf("%d different follow-ups; want %d", len(payloads), n)
	}
}

// TestOnlySuccessHasFollowUps: what else an answer brings is left out.
func TestOnlySuccessHasFollowUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := rejected
		reply.FollowUps = replying(2, "B").FollowUps
		x := newRig(t, only(handlerTo("h", &script{answers: []event.Answer{reply}})))
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		if list := x.all(); len(list) != 1 {
			t.Errorf("%d events; want 1", len(list))
		}
	})
}

func TestSentBodiesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := done
		answer.Sent = []event.Payload{{EventID: "e1", Topic: "OUT", SourceService: "H", TargetService: "DOWNSTREAM"}}
		x := newRig(t, only(handlerTo("h", &script{answers: []event.Answer{answer}})))
		x.accept(message("e1", "A", "body"))
		synctest.Wait()
		rows, err := x.store.Payloads(context.Background(), x.find("e1").Seq)
		if err != nil || len(rows) != 2 {
			t.Fatalf("%d payload rows, %v; want 2", len(rows), err)
		}
		if p := rows[1]; p.Topic != "OUT" || p.CreatedBy != "H" || string(p.Body) != "body" || p.CreatedAt.IsZero() {
			t.Errorf("payload row = %+v; want OUT by H with the event's body", p)
		}
	})
}

// patientStore notes how long the last step may wait for others.
type patientStore struct {
	prompt
	mu       sync.Mutex
	patience time.Duration
}

func (s *patientStore) UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error {
	s.mu.Lock()
	s.patience = patience
	s.mu.Unlock()
	return s.prompt.UpdateWithin(ctx, patience, updates...)
}

// TestOutcomesWaitForACommitToShare where nobody waits for them: not those with
// follow-ups, and not while something is due.
func TestOutcomesWaitForACommitToShare(t *testing.T) {
	for name, c := range map[string]struct {
		answer  event.Answer
		patient bool
	}{"done": {done, true}, "follow-ups": {replying(1, "B"), false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), "eventd.db")})
				if err != nil {
					t.Fatal(err)
				}
				store := &patientStore{prompt: prompt{db}}
				r, err := router.New(router.Options{Service: "S", Store: store, Observer: noObserver{}, Log: zerolog.Nop()},
					router.Config{
						Routes:   []router.Route{route("A", "h")},
						Handlers: []router.Handler{handlerTo("h", &script{answers: []event.Answer{c.answer}})},
					})
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Start(context.Background()); err != nil {
					t.Fatal(err)
				}
				x := &rig{Router: r, t: t, store: db}
				defer x.close()
				synctest.Wait()
				x.accept(message("e1", "A", "{}"))
				synctest.Wait()
				if got := store.patience > 0; got != c.patient {
					t.Errorf("the outcome may wait %s; patient: %v, want %v", store.patience, got, c.patient)
				}
			})
		})
	}
}
