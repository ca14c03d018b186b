package router_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// byType answers as the event's message type says, in generation 0; all that is
// redriven succeeds. HANG waits on the gate.
func byType(gate *gate) deliver {
	return func(ctx context.Context, a *event.Attempt) event.Answer {
		switch {
		case a.Event.MessageType == "HANG":
			return gate.Deliver(ctx, a)
		case a.Generation > 0, a.Event.MessageType == "OK":
			return done
		case a.Event.MessageType == "AGAIN":
			return again
		case a.Event.MessageType == "EXHAUST":
			return event.Answer{Outcome: event.Again, Reason: event.Timeout}
		default:
			return rejected
		}
	}
}

// inEveryStatus has one event in each status, called like it.
func inEveryStatus(t *testing.T, gate *gate) *rig {
	paused := handlerTo("paused", byType(gate))
	once := withPolicy(handlerTo("once", byType(gate)), late)
	once.Policy.MaxAttempts = 1
	x := newRig(t, router.Config{
		Routes:     []router.Route{route("PAUSED", "paused"), route("EXHAUST", "once"), route("*", "h")},
		Handlers:   []router.Handler{withPolicy(handlerTo("h", byType(gate)), late), once, paused},
		DeadLetter: "dead",
	})
	x.pause("paused", true)
	x.accept(
		message("UNPROCESSED", "PAUSED", "{}"), message("IN_PROGRESS", "HANG", "{}"), message("COMPLETED", "OK", "{}"),
		message("RETRY", "AGAIN", "{}"), message("ERROR", "REJECT", "{}"), message("FAILED", "EXHAUST", "{}"),
	)
	gate.next(t)
	synctest.Wait()
	for _, s := range event.Statuses {
		if rec := x.find(s.String()); rec.Status != s {
			t.Fatalf("event %s is %s", s, rec.Status)
		}
	}
	return x
}

func TestRedriveFromEveryStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := inEveryStatus(t, newGate())
		for _, s := range event.Statuses {
			before := x.find(s.String())
			rec, err := x.redrive(s.String(), event.RedriveOrder{Detail: "once more"})
			if s == event.Unprocessed || s == event.InProgress {
				if !errors.Is(err, event.ErrConflict) || shape(x.find(s.String())) != shape(before) {
					t.Errorf("%s: %v, %s; want ErrConflict and nothing changed", s, err, shape(x.find(s.String())))
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			n := len(before.Timeline)
			if e := rec.Timeline[n]; e.Status != event.Unprocessed || e.Reason != event.Redriven || e.Detail != "generation 1 by alice: once more" {
				t.Errorf("%s: entry %+v; want UNPROCESSED redriven, generation 1 by alice: once more", s, e)
			}
			synctest.Wait()
			rec = x.find(s.String())
			if got := shape(rec); got != shape(before)+", UNPROCESSED redriven, IN_PROGRESS 1, COMPLETED 1" {
				t.Errorf("%s: %s", s, got)
			}
			if d := rec.Deliveries[0]; d.Generation != 1 || d.Attempts != 1 {
				t.Errorf("%s: generation %d, %d attempts; want 1, 1", s, d.Generation, d.Attempts)
			}
		}
	})
}

func TestCancelFromEveryStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		x := inEveryStatus(t, gate)
		letters := len(x.outbox())
		for _, s := range event.Statuses {
			before := x.find(s.String())
			rec, err := x.Cancel(context.Background(), before.Seq, event.CancelOrder{By: "bob", Detail: "enough"})
			if s == event.InProgress || s == event.Completed || s == event.Failed {
				if !errors.Is(err, event.ErrConflict) || shape(x.find(s.String())) != shape(before) {
					t.Errorf("%s: %v, %s; want ErrConflict and nothing changed", s, err, shape(x.find(s.String())))
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			e := rec.Timeline[len(rec.Timeline)-1]
			if rec.Status != event.Failed || rec.Reason != event.Cancelled || rec.UpdatedBy != "bob" || e.Detail != "enough" {
				t.Errorf("%s: %s %s by %s, entry %+v; want FAILED cancelled by bob, enough", s, rec.Status, rec.Reason, rec.UpdatedBy, e)
			}
			if letters++; len(x.outbox()) != letters {
				t.Errorf("%s: %d dead letters; want %d", s, len(x.outbox()), letters)
			}
		}
		x.pause("paused", false)
		gate.answers <- done
		advance(2 * time.Hour)
		for id, want := range map[string]string{
			"UNPROCESSED": "FAILED cancelled",
			"RETRY":       "IN_PROGRESS 1, RETRY 1 http_503, FAILED cancelled",
			"IN_PROGRESS": "IN_PROGRESS 1, COMPLETED 1",
		} {
			if got := shape(x.find(id)); got != want {
				t.Errorf("%s, in the end: %s; want %s", id, got, want)
			}
		}
	})
}

func TestOperatingOnWhatIsNotThere(t *testing.T) {
	x := newRig(t, only(handlerTo("h", &script{})))
	x.accept(message("e1", "A", "{}"))
	x.await("e1", event.Completed)
	if _, err := x.Redrive(context.Background(), 999, event.RedriveOrder{}); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("redrive of no event: %v; want ErrNotFound", err)
	}
	if _, err := x.Cancel(context.Background(), 999, event.CancelOrder{By: "bob"}); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("cancel of no event: %v; want ErrNotFound", err)
	}
	if _, err := x.redrive("e1", event.RedriveOrder{Handler: "none"}); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("redrive to no handler: %v; want ErrNotFound", err)
	}
}

// deliveriesOf is the state of each share in one line.
func deliveriesOf(rec event.Record) string {
	var list []string
	for _, d := range rec.Deliveries {
		list = append(list, strings.TrimSpace(fmt.Sprint(d.Handler, " ", d.Generation, " ", d.Status, " ", d.Reason)))
	}
	return strings.Join(list, ", ")
}

func fanOut(gate *gate) router.Config {
	return router.Config{
		Routes: []router.Route{route("A", "ok", "bad", "busy"), route("H", "hang", "paused"), route("OK", "ok", "good")},
		Handlers: []router.Handler{
			handlerTo("ok", &script{}), handlerTo("good", &script{}), handlerTo("paused", &script{}),
			handlerTo("bad", byType(gate)), withPolicy(handlerTo("busy", &script{answers: []event.Answer{again}}), late),
			handlerTo("hang", gate),
		},
		DeadLetter: "dead",
	}
}

func TestRedriveOfAFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, fanOut(newGate()))
		x.accept(message("e1", "A", "{}"), message("e2", "OK", "{}"))
		synctest.Wait()
		if got, want := deliveriesOf(x.find("e1")), "ok 0 COMPLETED, bad 0 ERROR rejected, busy 0 RETRY http_503"; got != want {
			t.Fatalf("e1: %s; want %s", got, want)
		}
		for id, want := range map[string]string{
			"e1": "ok 0 COMPLETED, bad 1 COMPLETED, busy 1 RETRY http_503", // those that were not COMPLETED
			"e2": "ok 1 COMPLETED, good 1 COMPLETED",                       // all, as all were
		} {
			if _, err := x.redrive(id, event.RedriveOrder{}); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			synctest.Wait()
			if got := deliveriesOf(x.find(id)); got != want {
				t.Errorf("%s: %s; want %s", id, got, want)
			}
		}
	})
}

func TestCancelOfAFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := newGate()
		x := newRig(t, fanOut(gate))
		x.pause("paused", true)
		x.accept(message("e1", "A", "{}"), message("e2", "H", "{}"))
		gate.next(t)
		synctest.Wait()
		if _, err := x.Cancel(context.Background(), x.find("e1").Seq, event.CancelOrder{By: "bob"}); err != nil {
			t.Error(err)
		}
		if got, want := deliveriesOf(x.find("e1")), "ok 0 COMPLETED, bad 0 FAILED cancelled, busy 0 FAILED cancelled"; got != want {
			t.Errorf("e1: %s; want %s", got, want)
		}
		// One share of e2 runs and one waits: it stands as UNPROCESSED.
		if _, err := x.Cancel(context.Background(), x.find("e2").Seq, event.CancelOrder{By: "bob"}); !errors.Is(err, event.ErrConflict) {
			t.Errorf("cancel while an attempt runs: %v; want ErrConflict", err)
		}
		gate.answers <- done
		synctest.Wait()
		if got, want := deliveriesOf(x.find("e2")), "hang 0 COMPLETED, paused 0 UNPROCESSED"; got != want {
			t.Errorf("e2: %s; want %s", got, want)
		}
	})
}

func TestRedriveToAnotherHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := &script{}
		c := fanOut(newGate())
		c.Handlers = append(c.Handlers, handlerTo("other", other))
		x := newRig(t, c)
		undecodable := message("bytes", "", "\xff\x00")
		undecodable.Problem, undecodable.Detail = event.Undecodable, "no known form"
		x.accept(message("e1", "A", "{}"), message("unrouted", "NONE", "{}"), undecodable)
		synctest.Wait()
		for id, want := range map[string]string{
			"e1":       "ok 0 COMPLETED, other 1 COMPLETED, other 1 COMPLETED",
			"unrouted": "other 1 COMPLETED",
			"bytes":    "other 1 COMPLETED",
		} {
			rec, err := x.redrive(id, event.RedriveOrder{Handler: "other"})
			if err != nil || rec.UpdatedBy != "alice" {
				t.Errorf("%s: updated by %s, %v; want alice", id, rec.UpdatedBy, err)
			}
			synctest.Wait()
			if got := deliveriesOf(x.find(id)); got != want {
				t.Errorf("%s: %s; want %s", id, got, want)
			}
		}
		if a := other.last(); a.Route != "redrive" && a.Route != "to-A" {
			t.Errorf("route of a redriven attempt = %q", a.Route)
		}
	})
}

func TestRedriveWithoutAHandlerToGoTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &script{answers: []event.Answer{rejected}}
		c := router.Config{Routes: []router.Route{route("A", "h")}, Handlers: []router.Handler{handlerTo("h", h)}}
		x := newRig(t, c)
		undecodable := message("bytes", "", "\xff\x00")
		undecodable.Problem = event.Undecodable
		x.accept(message("e1", "A", "{}"), message("unrouted", "B", "{}"), undecodable)
		synctest.Wait()
		for _, id := range []string{"unrouted", "bytes"} {
			before := x.find(id)
			if _, err := x.redrive(id, event.RedriveOrder{}); !errors.Is(err, event.ErrConflict) {
				t.Errorf("redrive of %s: %v; want ErrConflict", id, err)
			}
			if got := shape(x.find(id)); got != shape(before) {
				t.Errorf("%s: %s; want nothing changed", id, got)
			}
		}
		// Its handler is configured away: it is held, and not left for nobody.
		x.reload(router.Config{})
		synctest.Wait()
		if _, err := x.redrive("e1", event.RedriveOrder{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got, want := shape(x.find("e1")), "IN_PROGRESS 1, ERROR 1 rejected, UNPROCESSED redriven, ERROR no_route"; got != want {
			t.Errorf("e1: %s; want %s", got, want)
		}
		h.answers = nil
		x.reload(c)
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Completed {
			t.Errorf("once its handler is back it is %s; want COMPLETED", rec.Status)
		}
	})
}

// TestRedriveOfALoop: a person may let a chain of follow-ups go on.
func TestRedriveOfALoop(t *testing.T) {
	x := newRig(t, only(handlerTo("h", &script{})))
	m := message("e1", "A", "{}")
	m.Problem, m.Detail = event.Loop, "17 follow-ups in a row"
	x.accept(m)
	x.await("e1", event.Error)
	if _, err := x.redrive("e1", event.RedriveOrder{}); err != nil {
		t.Fatal(err)
	}
	if rec := x.await("e1", event.Completed); rec.Deliveries[0].Generation != 1 {
		t.Errorf("generation = %d; want 1", rec.Deliveries[0].Generation)
	}
}

// TestRedriveRacesWithTheNextAttempt has both become due at the same moment,
// many times over.
func TestRedriveRacesWithTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := deliver(func(_ context.Context, a *event.Attempt) event.Answer {
			if a.Number < 3 {
				return again
			}
			return done
		})
		policy := patient
		policy.Initial = time.Millisecond
		path := filepath.Join(t.TempDir(), "eventd.db")
		told := &ledger{}
		x := openObserved(t, path, told, only(withPolicy(handlerTo("h", h), policy)))
		const n = 40
		for i := range n {
			x.accept(message(fmt.Sprint("e", i), "A", "{}"))
		}
		for range 5 {
			<-time.After(time.Millisecond) // the next attempts are due now
			for i := range n {
				go func() {
					if _, err := x.redrive(fmt.Sprint("e", i), event.RedriveOrder{}); !expected(err) {
						t.Error(err)
					}
				}()
			}
			synctest.Wait()
		}
		advance(time.Second)
		begun := 0
		for _, rec := range x.all() {
			if rec.Status != event.Completed {
				t.Errorf("%s is %s: %s", rec.ID, rec.Status, shape(rec))
			}
			for _, e := range rec.Timeline {
				if e.Status == event.InProgress {
					begun++
				}
			}
		}
		if told := strings.Count(told.told(), "h: "); told != begun {
			t.Errorf("%d attempts ended; want the %d on record", told, begun)
		}
	})
}

func TestEventEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &ledger{}
		c := fanOut(newGate())
		x := openObserved(t, filepath.Join(t.TempDir(), "eventd.db"), told, c)
		x.pause("paused", true)
		x.pause("good", true)
		expiring := message("expiring", "OK", "{}")
		expiring.Expires = time.Now().Add(time.Minute)
		x.accept(expiring, message("cancelled", "A", "{}"), message("unrouted", "U", "{}"))
		synctest.Wait()
		if got, want := told.told(), "U ended; bad: ERROR rejected; busy: RETRY http_503; ok: COMPLETED ; ok: COMPLETED "; got != want {
			t.Errorf("told %q; want %q", got, want)
		}
		advance(2 * time.Minute)
		x.pause("good", false) // its share has expired
		synctest.Wait()
		if got, want := told.told(), "OK ended"; got != want {
			t.Errorf("told of the expired event %q; want %q", got, want)
		}
		if _, err := x.Cancel(context.Background(), x.find("cancelled").Seq, event.CancelOrder{By: "bob"}); err != nil {
			t.Error(err)
		}
		if _, err := x.Cancel(context.Background(), x.find("unrouted").Seq, event.CancelOrder{By: "bob"}); err != nil {
			t.Error(err)
		}
		if got, want := told.told(), "A ended"; got != want {
			t.Errorf("told of the cancelled events %q; want %q: the other had ended before", got, want)
		}
	})
}
