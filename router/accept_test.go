package router_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

func TestDuplicatesGiveTheirSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		x := newRig(t, only(withConcurrency(handlerTo("h", h), 1)))
		for i := range 30 {
			// The duplicate comes first and takes the slot; the new one has to wait for it.
			x.accept(message("same", "A", "{}"), message(fmt.Sprint("new", i), "A", "{}"))
			synctest.Wait()
			x.accept(message("same", "A", "{}"), message("same", "A", "{}"))
			synctest.Wait()
		}
		for i := range 30 {
			if rec := x.find(fmt.Sprint("new", i)); rec.Status != event.Completed {
				t.Errorf("new%d is %s; want COMPLETED", i, rec.Status)
			}
		}
		if h := x.info("h"); h.InFlight != 0 {
			t.Errorf("%d slots are taken; want none", h.InFlight)
		}
		if h.count() != 31 {
			t.Errorf("%d executions; want 31", h.count())
		}
	})
}

func TestDuplicatesInOneBatch(t *testing.T) {
	x := newRig(t, only(handlerTo("h", &script{})))
	receipts, err := x.Accept(context.Background(), []event.Message{
		message("a", "A", "1"), message("a", "A", "2"), message("b", "A", "3"), message("a", "A", "4"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, r := range receipts {
		got = append(got, r.Duplicate)
	}
	if want := []bool{false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("duplicates = %v; want %v", got, want)
	}
	x.await("a", event.Completed)
	x.await("b", event.Completed)
}

func TestWhatIsNotStoredGivesItsSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(withConcurrency(handlerTo("h", &script{}), 1)))
		synctest.Wait()
		broken := message("broken", "A", "{}")
		broken.Table = 0 // the store refuses it, and all that came with it
		for range 3 {
			if _, err := x.Accept(context.Background(), []event.Message{message("e1", "A", "{}"), broken}); err == nil {
				t.Fatal("an event without table is accepted")
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for i := 0; ; i++ { // handing it to the store races with the end of ctx
			if _, err := x.Accept(ctx, []event.Message{message(fmt.Sprint("late", i), "A", "{}")}); errors.Is(err, context.Canceled) {
				break
			}
			synctest.Wait()
		}
		if h := x.info("h"); h.InFlight != 0 {
			t.Errorf("%d slots are taken; want none", h.InFlight)
		}
		x.accept(message("e2", "A", "{}"))
		synctest.Wait()
		if rec := x.find("e2"); rec.Status != event.Completed {
			t.Errorf("e2 is %s; want COMPLETED", rec.Status)
		}
	})
}

func TestEventThatComesExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, told := &script{}, &ledger{}
		c := only(handlerTo("h", h))
		c.DeadLetter = "dead"
		x := openObserved(t, filepath.Join(t.TempDir(), "eventd.db"), told, c)
		synctest.Wait()
		old := message("old", "A", "{}")
		old.Expires = time.Now().Add(-time.Second)
		later := message("later", "A", "{}")
		later.Expires = time.Now().Add(time.Hour)
		x.accept(old, later)
		synctest.Wait()
		if rec := x.find("old"); shape(rec) != "FAILED expired" || rec.Deliveries[0].Attempts != 0 {
			t.Errorf("old: %s after %d attempts; want FAILED expired after none", shape(rec), rec.Deliveries[0].Attempts)
		}
		if rec := x.find("later"); rec.Status != event.Completed || h.count() != 1 {
			t.Errorf("later is %s, %d executions; want COMPLETED, 1", rec.Status, h.count())
		}
		if got, want := told.told(), "A ended; A ended; h: COMPLETED "; got != want {
			t.Errorf("the observer was told %q; want %q", got, want)
		}
		if n := len(x.outbox()); n != 1 {
			t.Errorf("%d dead letters; want 1", n)
		}
	})
}

func TestDeliverAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{}
		x := newRig(t, only(handlerTo("h", h)))
		synctest.Wait()
		at := time.Now().Add(time.Hour)
		m := message("e1", "A", "{}")
		m.DeliverAt = at
		x.accept(m)
		advance(time.Hour - time.Microsecond)
		if rec := x.find("e1"); rec.Status != event.Unprocessed || h.count() != 0 {
			t.Fatalf("before its time it is %s with %d executions; want UNPROCESSED", rec.Status, h.count())
		}
		advance(time.Microsecond)
		rec := x.find("e1")
		if rec.Status != event.Completed || !rec.Timeline[0].At.Equal(at) {
			t.Errorf("at its time: %s at %s; want COMPLETED at %s", shape(rec), rec.Timeline[0].At, at)
		}
	})
}

// TestWhatWaitsLongestGoesFirst fills the queue beyond what a dispatcher holds
// in memory.
func TestWhatWaitsLongestGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newGate()
		x := newRig(t, only(withConcurrency(handlerTo("h", h), 1)))
		synctest.Wait()
		const n = 60
		sent := 0
		send := func(count int) {
			for range count {
				x.accept(message(fmt.Sprint("e", sent), "A", "{}"))
				sent++
				advance(time.Millisecond)
			}
		}
		send(3)
		for i := range n {
			if a := h.next(t); a.Event.ID != fmt.Sprint("e", i) {
				t.Fatalf("attempt %d is of %s; want e%d", i, a.Event.ID, i)
			}
			if i%3 == 0 { // in bursts, so that the queue grows and shrinks
				send(min(i%8, n-sent))
			}
			if sent == i+1 && sent < n {
				send(1)
			}
			h.answers <- done
		}
	})
}

func TestCorrelationOfResponses(t *testing.T) {
	made := deliver(func(_ context.Context, a *event.Attempt) event.Answer {
		answer := done
		for _, id := range []string{"to-request", "to-both"} {
			answer.FollowUps = append(answer.FollowUps, event.Message{Event: event.Event{ID: id, MessageType: "B"}})
		}
		return answer
	})
	x := newRig(t, router.Config{
		Routes:   []router.Route{route("A", "made"), route("*", "other")},
		Handlers: []router.Handler{handlerTo("made", made), handlerTo("other", &script{})},
	})
	inbound := func(id, correlation string) event.Message {
		m := message(id, "C", "{}")
		m.CorrelationID = correlation
		return m
	}
	x.accept(inbound("to-inbound", "c-in"), inbound("to-both", "c-other"), message("start", "A", "{}"))
	x.await("start", event.Completed)

	response := func(id, correlation string) event.Message {
		m := inbound(id, correlation)
		m.Table, m.SourceService = event.Response, "DOWNSTREAM"
		return m
	}
	x.accept(response("to-request", ""), response("to-inbound", ""), response("to-both", ""), response("to-none", ""), response("to-request-2", "c-own"))
	for id, want := range map[string][2]string{
		"to-request":   {"start", "to-request"}, // that of the request, which has it from the inbound event
		"to-inbound":   {"c-in", "to-inbound"},
		"to-both":      {"start", "to-both"}, // the request was sent out, so this answers it
		"to-none":      {"to-none", ""},
		"to-request-2": {"c-own", ""},
	} {
		list, err := x.store.Find(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(r event.Record) bool { return r.Table == event.Response })
		if got := [2]string{list[i].CorrelationID, list[i].CausationID}; got != want {
			t.Errorf("correlation and causation of the response %s = %q; want %q", id, got, want)
		}
	}
}

func TestAcceptCompletesWhatAMessageDoesNotSay(t *testing.T) {
	x := newRig(t, only(handlerTo("h", &script{})))
	before := time.Now().UTC().Truncate(time.Microsecond)
	x.accept(event.Message{Event: event.Event{Table: event.Request, ID: "e1", MessageType: "A"}})
	rec := x.await("e1", event.Completed)
	if rec.CreatedBy != "SERVICE_A" || rec.CorrelationID != "e1" || rec.CreatedAt.Before(before) || rec.CreatedAt.After(time.Now()) {
		t.Errorf("created by %q at %s, correlation %q; want SERVICE_A, now, e1", rec.CreatedBy, rec.CreatedAt, rec.CorrelationID)
	}
}

// TestAcceptStoresMarks: that of a run with its event, also when it is a duplicate.
func TestAcceptStoresMarks(t *testing.T) {
	x := newRig(t, only(handlerTo("h", &script{})))
	for i, id := range []string{"e1", "e1"} {
		m := message(id, "A", "{}")
		m.Mark = &event.Mark{Schedule: "nightly", Rule: "r", Seen: time.Unix(int64(i+1), 0).UTC(), EventID: id}
		x.accept(m)
		got, err := x.store.Marks(context.Background())
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], *m.Mark) {
			t.Errorf("Marks = %+v, %v; want %+v", got, err, *m.Mark)
		}
	}
	x.find("e1") // is there once
}
