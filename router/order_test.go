package router_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
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

// inOrder is a configuration in which everything goes to one handler, ordered by
// the member k of the payload.
func inOrder(h router.Handler, f event.OnFailure) router.Config {
	c := only(h)
	c.Routes[0].OrderBy, c.Routes[0].OnFailure = "data.k", f
	return c
}

func keyed(id, key string) event.Message { return message(id, "A", fmt.Sprintf(`{"k":%q}`, key)) }

// calls notes which events a handler gets, and fails when it has two of a key.
type calls struct {
	t      *testing.T
	answer func(*event.Attempt) event.Answer

	mu      sync.Mutex
	order   []string
	running map[string]string
}

func (c *calls) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	key := string(a.Payload)
	c.mu.Lock()
	if other := c.running[key]; other != "" {
		c.t.Errorf("%s is handed over while %s of the same key is in flight", a.Event.ID, other)
	}
	if c.running == nil {
		c.running = map[string]string{}
	}
	c.running[key] = a.Event.ID
	c.order = append(c.order, a.Event.ID)
	c.mu.Unlock()
	answer := c.answer(a)
	c.mu.Lock()
	delete(c.running, key)
	c.mu.Unlock()
	return answer
}

func (c *calls) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := strings.Join(c.order, " ")
	c.order = nil
	return s
}

// ofKey returns the events of one key: those of several may come in any order.
func ofKey(got, key string) string {
	list := slices.DeleteFunc(strings.Fields(got), func(s string) bool { return s != "|" && !strings.HasPrefix(s, key) })
	return strings.Join(list, " ")
}

// firstFails answers the first attempts of some events with something else than done.
func firstFails(answers map[string]event.Answer) func(*event.Attempt) event.Answer {
	return func(a *event.Attempt) event.Answer {
		if answer, ok := answers[a.Event.ID]; ok && a.Number == 1 && a.Generation == 0 {
			return answer
		}
		return done
	}
}

var everyMinute = retry.Policy{Backoff: retry.Constant, Initial: time.Minute, MaxAttempts: 3}

func TestRetryHoldsBackItsOwnKey(t *testing.T) {
	for f, want := range map[event.OnFailure]string{
		event.Block: "a1 | a1 a2 a3; b1 b2 |", event.Park: "a1 | a1 a2 a3; b1 b2 |", event.Skip: "a1 a2 a3 | a1; b1 b2 |",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &calls{t: t, answer: firstFails(map[string]event.Answer{"a1": again})}
			x := newRig(t, inOrder(withConcurrency(withPolicy(handlerTo("h", c), everyMinute), 1), f))
			x.accept(keyed("a1", "a"), keyed("b1", "b"), keyed("a2", "a"), keyed("b2", "b"), keyed("a3", "a"))
			advance(time.Minute - time.Second)
			got := c.got()
			if f != event.Skip {
				if rec := x.find("a2"); rec.Status != event.Unprocessed || rec.Deliveries[0].Attempts != 0 || x.info("h").InFlight != 0 {
					t.Errorf("%s: a2 is %s after %d attempts, %d slots are taken; want UNPROCESSED, 0, 0", f, rec.Status, rec.Deliveries[0].Attempts, x.info("h").InFlight)
				}
			}
			advance(time.Minute)
			got += " | " + c.got()
			if got = ofKey(got, "a") + "; " + ofKey(got, "b"); got != want {
				t.Errorf("%s: handed over %s; want %s", f, got, want)
			}
			if h := x.info("h"); h.Queue+h.Retries != 0 || h.BlockedKeys != 0 {
				t.Errorf("%s: %+v; want nothing waiting", f, h)
			}
		})
	}
}

func TestFailureHoldsBackItsOwnKey(t *testing.T) {
	for f, want := range map[event.OnFailure]string{event.Block: "a1; b1", event.Park: "a1 a2; b1", event.Skip: "a1 a2; b1"} {
		synctest.Test(t, func(t *testing.T) {
			c := &calls{t: t, answer: firstFails(map[string]event.Answer{"a1": rejected})}
			x := newRig(t, inOrder(withConcurrency(handlerTo("h", c), 1), f))
			x.accept(keyed("a1", "a"), keyed("b1", "b"), keyed("a2", "a"))
			advance(time.Hour)
			got := c.got()
			if got = ofKey(got, "a") + "; " + ofKey(got, "b"); got != want {
				t.Errorf("%s: handed over %s; want %s", f, got, want)
			}
			heads, more, err := x.OrderHeads(context.Background(), "h", 10)
			if blocked := x.info("h").BlockedKeys; err != nil || more || len(heads) != blocked || (blocked == 1) != (f == event.Block) {
				t.Errorf("%s: %d keys are blocked; OrderHeads = %+v, %v", f, blocked, heads, err)
			}
			if len(heads) == 1 && (heads[0].Key != "a" || heads[0].Record.ID != "a1" || heads[0].Waiting != 1) {
				t.Errorf("heads = %+v; want a1 of a with one behind it", heads)
			}
		})
	}
}

// TestBlockedKeyGoesOn when a person redrives, cancels, or sends elsewhere what
// keeps it waiting.
func TestBlockedKeyGoesOn(t *testing.T) {
	exhausted := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Code: 503}
	for name, act := range map[string]func(*rig) error{
		"redrive": func(x *rig) error { _, err := x.redrive("a1", event.RedriveOrder{}); return err },
		"cancel": func(x *rig) error {
			_, err := x.Cancel(context.Background(), x.find("a1").Seq, event.CancelOrder{By: "bob", Detail: ""})
			return err
		},
		"elsewhere": func(x *rig) error { _, err := x.redrive("a1", event.RedriveOrder{Handler: "other"}); return err },
	} {
		for _, answer := range []event.Answer{rejected, exhausted} {
			synctest.Test(t, func(t *testing.T) {
				c := &calls{t: t, answer: firstFails(map[string]event.Answer{"a1": answer})}
				once := retry.Policy{Backoff: retry.Constant, Initial: time.Second, MaxAttempts: 1}
				config := inOrder(withPolicy(handlerTo("h", c), once), event.Block)
				config.Handlers = append(config.Handlers, handlerTo("other", &script{}))
				config.DeadLetter = "dead"
				x := newRig(t, config)
				x.accept(keyed("a1", "a"), keyed("a2", "a"), keyed("a3", "a"))
				advance(time.Hour)
				if got := c.got(); got != "a1" {
					t.Fatalf("handed over %s; want a1", got)
				}
				if err := act(x); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				synctest.Wait()
				want := map[string]string{"redrive": "a1 a2 a3"}[name]
				if want == "" {
					want = "a2 a3"
				}
				if got := c.got(); got != want {
					t.Errorf("%s of %s: handed over %s; want %s", name, answer.Reason, got, want)
				}
				if n := len(x.outbox()); n != 1 && !(name == "cancel" && answer.Outcome == event.Never) {
					t.Errorf("%s: %d dead letters; want 1", name, n)
				}
			})
		}
	}
}

// TestOrderOutlastsRestartAndReload: the key is kept with the event, though the
// route has another one, or none, by then.
func TestOrderOutlastsRestartAndReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{t: t, answer: firstFails(map[string]event.Answer{"a1": again})}
		h := withConcurrency(withPolicy(handlerTo("h", c), everyMinute), 1)
		x := newRig(t, inOrder(h, event.Block))
		x.accept(keyed("a1", "a"), keyed("a2", "a"), keyed("b1", "b"))
		synctest.Wait()
		x.stop(time.Second)
		y := openRig(t, copyOf(t, x.path), only(h))
		y.accept(keyed("a3", "a")) // which has no order
		synctest.Wait()
		if got := c.got(); got != "a1 b1 a3" {
			t.Errorf("before the retry: %s; want a1 b1 a3", got)
		}
		advance(2 * time.Minute)
		if got := c.got(); got != "a1 a2" {
			t.Errorf("after it: %s; want a1 a2", got)
		}
	})
}

// TestHeldEventsKeepTheirPlaces while their handler is gone: what comes when it is
// back waits until they are through.
func TestHeldEventsKeepTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{t: t, answer: firstFails(nil)}
		here := inOrder(handlerTo("h", c), event.Park)
		x := newRig(t, here)
		x.pause("h", true)
		var want []string
		for i := range 600 { // more than are held at a time
			id := fmt.Sprint("a", i)
			x.accept(keyed(id, "a"))
			want = append(want, id)
		}
		x.reload(router.Config{})
		advance(time.Second)
		for _, id := range []string{"a0", "a1", "a599"} {
			if rec := x.find(id); rec.Status != event.Error || rec.Reason != event.NoRoute {
				t.Fatalf("%s is %s %s; want ERROR no_route", id, rec.Status, rec.Reason)
			}
		}
		x.reload(here)
		x.accept(keyed("last", "a")) // before all of them are taken up
		x.pause("h", false)
		advance(time.Minute)
		if got := c.got(); got != strings.Join(append(want, "last"), " ") {
			t.Errorf("handed over %.200s…; want all in the order they came", got)
		}
	})
}

// TestClaimsKeepOrder: a batch has one of each key, and the next is there to be
// claimed once the one before is through.
func TestClaimsKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, inOrder(polled("h"), event.Block))
		x.accept(keyed("a1", "a"), keyed("a2", "a"), keyed("b1", "b"), keyed("a3", "a"))
		ids := func(list []event.Claim) (s string) {
			for _, c := range list {
				s += c.Record.ID + " "
			}
			return s
		}
		first := x.claim(event.ClaimOrder{Max: 10})
		if got := ids(first) + ids(x.claim(event.ClaimOrder{Max: 10})); got != "a1 b1 " {
			t.Fatalf("claimed %s; want a1 b1", got)
		}
		var waited []event.Claim
		go func() { waited, _ = x.Claim(context.Background(), "h", event.ClaimOrder{Max: 10, Wait: time.Minute}) }()
		synctest.Wait()
		if _, err := x.CompleteClaim(context.Background(), first[0].ID, "", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := ids(waited); got != "a2 " {
			t.Fatalf("who waits for a claim gets %s; want a2", got)
		}
		if _, err := x.ReleaseClaim(context.Background(), waited[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		again := x.claim(event.ClaimOrder{Max: 10})
		if got := ids(again); got != "a2 " {
			t.Fatalf("after it is released: %s; want a2", got)
		}
		advance(lease + time.Millisecond) // both leases run out
		if got := ids(x.claim(event.ClaimOrder{Max: 10})); got != "" {
			t.Errorf("while it waits for its retry: %s; want none", got)
		}
		advance(time.Second)
		if got := ids(x.claim(event.ClaimOrder{Max: 10})); got != "b1 a2 " && got != "a2 b1 " {
			t.Errorf("then: %s; want a2 and b1", got)
		}
	})
}

// TestDelayedEventTakesItsTurnWhenItsTimeComes and holds nothing up before.
func TestDelayedEventTakesItsTurnWhenItsTimeComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		x := newRig(t, inOrder(handlerTo("h", g), event.Block))
		late := keyed("late", "a")
		late.DeliverAt = time.Now().Add(time.Hour)
		x.accept(late, keyed("a1", "a"))
		if a := g.next(t); a.Event.ID != "a1" {
			t.Fatalf("the first is %s; want a1", a.Event.ID)
		}
		advance(2 * time.Hour)
		x.accept(keyed("a2", "a"))
		g.answers <- done
		for _, want := range []string{"late", "a2"} {
			if a := g.next(t); a.Event.ID != want {
				t.Errorf("next is %s; want %s", a.Event.ID, want)
			}
			g.answers <- done
		}
	})
}

// TestKeyThatCannotBeFound: the event is handed to nobody, and a redrive looks
// for the key again.
func TestKeyThatCannotBeFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{t: t, answer: firstFails(nil)}
		config := inOrder(handlerTo("h", c), event.Block)
		config.DeadLetter = "dead"
		x := newRig(t, config)
		x.accept(message("none", "A", `{}`), message("null", "A", `{"k":null}`), message("number", "A", `{"k":7}`))
		synctest.Wait()
		rec := x.find("none")
		if rec.Status != event.Error || rec.Reason != event.Invalid || !strings.Contains(rec.Timeline[0].Detail, "no such key: k") || len(x.outbox()) != 1 {
			t.Errorf("without k: %s %s %+v, %d dead letters; want ERROR invalid and why, 1", rec.Status, rec.Reason, rec.Timeline, len(x.outbox()))
		}
		for id, want := range map[string]string{"null": "", "number": "7"} {
			if rec := x.find(id); rec.Status != event.Completed || rec.Deliveries[0].OrderKey != want {
				t.Errorf("%s is %s with key %q; want COMPLETED, %q", id, rec.Status, rec.Deliveries[0].OrderKey, want)
			}
		}
		if _, err := x.Cancel(context.Background(), rec.Seq, event.CancelOrder{}); err != nil {
			t.Fatal(err)
		}
		if _, err := x.redrive("none", event.RedriveOrder{}); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "no such key: k") {
			t.Errorf("redrive: %v; want a conflict that says why", err)
		}
		if _, err := x.redrive("none", event.RedriveOrder{Payload: []byte(`{"k":"new"}`)}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if rec := x.find("none"); rec.Status != event.Completed || rec.Deliveries[0].OrderKey != "new" {
			t.Errorf("redriven with k it is %s with key %q; want COMPLETED, new", rec.Status, rec.Deliveries[0].OrderKey)
		}
	})
}

// TestOrderOfWhatNoRouteTook: they are taken up in the order they came.
func TestOrderOfWhatNoRouteTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{t: t, answer: firstFails(nil)}
		x := newRig(t, router.Config{})
		x.accept(keyed("a1", "a"), keyed("a2", "a"), message("none", "A", "{}"), keyed("a3", "a"))
		x.reload(inOrder(handlerTo("h", c), event.Block))
		advance(time.Second)
		if got := c.got(); got != "a1 a2 a3" {
			t.Errorf("handed over %s; want a1 a2 a3", got)
		}
		if rec := x.find("none"); rec.Status != event.Error || rec.Reason != event.Invalid {
			t.Errorf("what has no key is %s %s; want ERROR invalid", rec.Status, rec.Reason)
		}
	})
}

func TestLongKeysAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, inOrder(polled("h"), event.Block))
		long := strings.Repeat("ä", 500)
		x.accept(keyed("1", long+"a"), keyed("2", long+"b"), keyed("3", long+"a"))
		if n := len(x.claim(event.ClaimOrder{Max: 10})); n != 2 {
			t.Errorf("%d are claimed; want one of each key", n)
		}
		if key := x.find("1").Deliveries[0].OrderKey; len(key) > event.MaxOrderKey {
			t.Errorf("the key has %d bytes; want at most %d", len(key), event.MaxOrderKey)
		}
	})
}

// hasty is a store that notes how long its commits may wait for others.
type hasty struct {
	prompt
	mu       sync.Mutex
	patience []time.Duration
}

func (h *hasty) UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error {
	h.mu.Lock()
	h.patience = append(h.patience, patience)
	h.mu.Unlock()
	return h.prompt.UpdateWithin(ctx, patience, updates...)
}

// TestNextOfAKeyIsNotKeptWaiting for a commit to share, though the handler has room
// for many others.
func TestNextOfAKeyIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), "eventd.db")})
		if err != nil {
			t.Fatal(err)
		}
		g, h := newGate(), &hasty{prompt: prompt{db}}
		r, err := router.New(router.Options{Service: "S", Store: h, Observer: noObserver{}, Log: zerolog.Nop()}, inOrder(withConcurrency(handlerTo("h", g), 64), event.Block))
		if err != nil {
			t.Fatal(err)
		}
		x := &rig{Router: r, t: t, store: db}
		defer x.close()
		if err := r.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		x.accept(keyed("a1", "a"), keyed("a2", "a"))
		for _, waits := range []bool{false, true} { // nothing comes after the last one
			g.next(t)
			synctest.Wait()
			h.mu.Lock()
			h.patience = nil
			h.mu.Unlock()
			g.answers <- done
			synctest.Wait()
			h.mu.Lock()
			if len(h.patience) == 0 || (h.patience[0] > 0) != waits {
				t.Errorf("an outcome may wait %v; want that it may: %t", h.patience, waits)
			}
			h.mu.Unlock()
		}
	})
}
