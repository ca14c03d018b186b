package router_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
)

// taken is the answer of a handler that takes an event over.
var taken = event.Answer{Outcome: event.Taken, Code: 202, Lease: 10 * time.Minute}

// taker takes events over and tells their claims.
type taker struct {
	mu     sync.Mutex
	claims map[string]string // by event id
	order  []string          // event id and attempt
	before func(*event.Attempt)
}

func (k *taker) Deliver(_ context.Context, a *event.Attempt) event.Answer {
	k.mu.Lock()
	if k.claims == nil {
		k.claims = map[string]string{}
	}
	k.claims[a.Event.ID] = a.ClaimID
	k.order = append(k.order, fmt.Sprint(a.Event.ID, " ", a.Number))
	k.mu.Unlock()
	if k.before != nil {
		k.before(a)
	}
	return taken
}

func (k *taker) claim(id string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.claims[id]
}

func (k *taker) sent() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.order, ", ")
}

func async(d router.Deliverer, concurrency, most int) router.Handler {
	h := withConcurrency(handlerTo("h", d), concurrency)
	h.AsyncTimeout, h.AsyncMost = taken.Lease, most
	h.Policy = retry.Policy{Backoff: retry.Constant, Initial: time.Minute, MaxAttempts: 3}
	return h
}

func (x *rig) complete(claim string, followUps ...event.Message) (event.Record, error) {
	x.t.Helper()
	return x.CompleteClaim(context.Background(), claim, "", followUps)
}

// TestTakenOver: a 202 frees the slot, the event is concluded by its claim.
func TestTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &taker{}
		o := &ledger{}
		x := openObserved(t, t.TempDir()+"/eventd.db", o, router.Config{
			Routes:   []router.Route{route("A", "h"), route("B", "other")},
			Handlers: []router.Handler{async(h, 1, 100), handlerTo("other", &script{})},
		})
		x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"), message("e3", "A", "{}"))
		synctest.Wait()
		if sent := h.sent(); sent != "e1 1, e2 1, e3 1" {
			t.Errorf("sent: %s; want all, through one slot", sent)
		}
		rec := x.find("e1")
		if last := rec.Timeline[len(rec.Timeline)-1]; shape(rec) != "IN_PROGRESS 1, IN_PROGRESS 1" || last.Code != 202 || !strings.Contains(last.Detail, "taken over until") {
			t.Errorf("taken over: %s, %+v", shape(rec), last)
		}
		if next := rec.Deliveries[0].NextAttempt; !next.Equal(time.Now().Add(10 * time.Minute)) {
			t.Errorf("its lease ends %s; want in ten minutes", time.Until(next))
		}
		if i := x.info("h"); i.InFlight != 0 || i.Claims != 3 {
			t.Errorf("%d in flight, %d taken over; want 0 and 3", i.InFlight, i.Claims)
		}
		if told := o.told(); told != "" {
			t.Errorf("observed before any has ended: %s", told)
		}
		time.Sleep(time.Minute)
		rec, err := x.complete(h.claim("e1"), event.Message{Event: event.Event{MessageType: "B"}})
		if err != nil || rec.Status != event.Completed || rec.Timeline[len(rec.Timeline)-1].Duration != time.Minute {
			t.Errorf("completed: %s, %v, %+v", rec.Status, err, rec.Timeline)
		}
		rec, err = x.FailClaim(context.Background(), h.claim("e2"), "", event.ClaimFailure{Retry: true, Detail: "paper jam"})
		if err != nil || rec.Status != event.Retry || rec.Reason != event.ClaimFailed {
			t.Errorf("failed: %s %s, %v", rec.Status, rec.Reason, err)
		}
		rec, err = x.FailClaim(context.Background(), h.claim("e3"), "", event.ClaimFailure{})
		if err != nil || rec.Status != event.Error || rec.Reason != event.Rejected {
			t.Errorf("failed for good: %s %s, %v", rec.Status, rec.Reason, err)
		}
		synctest.Wait()
		if len(x.children("e1")) != 1 || x.info("h").Claims != 0 {
			t.Errorf("follow-ups: %v, claims: %d; want one and none", x.children("e1"), x.info("h").Claims)
		}
		if _, err := x.complete(h.claim("e1")); !errors.Is(err, event.ErrConflict) {
			t.Errorf("completed again: %v; want a conflict", err)
		}
		if told := o.told(); told != "A ended; A ended; B ended; h: COMPLETED ; h: ERROR rejected; h: RETRY claim_failed; other: COMPLETED " {
			t.Errorf("observed: %s", told)
		}
	})
}

// TestOtherAnswersOfAsynchronousHandlers are final, as those of any.
func TestOtherAnswersOfAsynchronousHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := async(&script{answers: []event.Answer{again, done}}, 1, 1)
		h.Policy = quick
		x := newRig(t, only(h))
		x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"))
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range []string{"e1", "e2"} {
			if got := shape(x.find(id)); !strings.HasSuffix(got, "IN_PROGRESS 1, RETRY 1 http_503, IN_PROGRESS 2, COMPLETED 2") {
				t.Errorf("%s: %s", id, got)
			}
		}
	})
}

// TestConcludedBeforeTheAnswer: the claim may be used while the request is still
// unanswered. What comes first counts, whatever the answer is then.
func TestConcludedBeforeTheAnswer(t *testing.T) {
	for name, answer := range map[string]event.Answer{"taken": taken, "done": done, "again": again, "rejected": rejected} {
		for _, c := range []struct {
			verb string
			use  func(*rig, string) error
			want string // status, attempts and open claims in the end
		}{
			{"complete", func(x *rig, id string) error { return only2(x.complete(id)) }, "COMPLETED 1 0"},
			{"fail", func(x *rig, id string) error {
				return only2(x.FailClaim(context.Background(), id, "", event.ClaimFailure{Retry: true}))
			}, "RETRY 1 0"},
			{"release", func(x *rig, id string) error { return only2(x.ReleaseClaim(context.Background(), id, "")) }, "IN_PROGRESS 2 0"},
		} {
			t.Run(c.verb+" then "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate()
					x := newRig(t, only(async(g, 1, 10)))
					synctest.Wait()
					x.accept(message("e1", "A", "{}"))
					a := g.next(t)
					synctest.Wait()
					if err := c.use(x, a.ClaimID); err != nil {
						t.Fatalf("%s before there is an answer: %v", c.verb, err)
					}
					g.answers <- answer
					synctest.Wait()
					if c.verb == "release" { // it goes out again, under another number
						if second := g.next(t); second.Number != 2 || second.ClaimID == a.ClaimID {
							t.Errorf("released it goes out as attempt %d, claim %s", second.Number, second.ClaimID)
						}
						synctest.Wait()
					}
					rec := x.find("e1")
					if got := fmt.Sprint(rec.Status, rec.Deliveries[0].Attempts, x.info("h").Claims); got != c.want {
						t.Errorf("then it is %s; want %s", got, c.want)
					}
				})
			})
		}
	}
}

// TestReleasedIsNotCharged, though its executions stay on record.
func TestReleasedIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &taker{}
		x := newRig(t, only(async(h, 1, 10))) // at most three attempts
		x.accept(message("e1", "A", "{}"))
		for range 10 {
			synctest.Wait()
			if rec, err := x.ReleaseClaim(context.Background(), h.claim("e1"), ""); err != nil || rec.Status == event.Failed {
				t.Fatalf("released: %s %s, %v", rec.Status, rec.Reason, err)
			}
		}
		synctest.Wait()
		rec := x.find("e1")
		if d := rec.Deliveries[0]; d.Attempts != 11 || d.Uncharged != 10 {
			t.Errorf("%d attempts, %d of them uncharged; want 11 and 10", d.Attempts, d.Uncharged)
		}
		rec, err := x.FailClaim(context.Background(), h.claim("e1"), "", event.ClaimFailure{Retry: true})
		if err != nil || rec.Status != event.Retry {
			t.Errorf("failed once it is %s %s, %v; want RETRY", rec.Status, rec.Reason, err)
		}
	})
}

// TestExtendedBeforeTheAnswer: the answer does not shorten a lease.
func TestExtendedBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		x := newRig(t, only(async(g, 1, 10)))
		synctest.Wait()
		x.accept(message("e1", "A", "{}"))
		a := g.next(t)
		synctest.Wait()
		until, err := x.ExtendClaim(context.Background(), a.ClaimID, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		g.answers <- taken
		synctest.Wait()
		if next := x.find("e1").Deliveries[0].NextAttempt; !next.Equal(until) {
			t.Errorf("its lease ends at %s; want %s", next, until)
		}
		time.Sleep(time.Hour - time.Minute)
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.InProgress {
			t.Errorf("a minute before the extension ends it is %s", rec.Status)
		}
		if _, err := x.ExtendClaim(context.Background(), a.ClaimID, "", 0); err != nil {
			t.Error(err)
		}
		if next := x.find("e1").Deliveries[0].NextAttempt; !next.Equal(time.Now().Add(taken.Lease)) {
			t.Errorf("extended as configured it ends in %s; want %s", time.Until(next), taken.Lease)
		}
		// A done one whose lease was extended while it was unanswered leaves none open.
		x.accept(message("e2", "A", "{}"))
		b := g.next(t)
		synctest.Wait()
		if _, err := x.ExtendClaim(context.Background(), b.ClaimID, "", time.Hour); err != nil {
			t.Error(err)
		}
		g.answers <- done
		synctest.Wait()
		if n := x.info("h").Claims; n != 1 {
			t.Errorf("%d claims are open; want that of e1", n)
		}
	})
}

// TestTakenOverForTooLong is tried again, and who comes too late is told.
func TestTakenOverForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &taker{}
		x := newRig(t, only(async(h, 1, 1)))
		x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"))
		time.Sleep(taken.Lease - time.Second)
		synctest.Wait()
		first := h.claim("e1")
		if rec := x.find("e1"); rec.Status != event.InProgress || h.sent() != "e1 1" {
			t.Errorf("before its time is over it is %s, sent: %s", rec.Status, h.sent())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Retry || rec.Reason != event.ClaimExpired {
			t.Errorf("then it is %s %s; want RETRY claim_expired", rec.Status, rec.Reason)
		}
		if h.sent() != "e1 1, e2 1" {
			t.Errorf("sent: %s; want the next one in its place", h.sent())
		}
		if _, err := x.complete(first); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "RETRY") {
			t.Errorf("completed too late: %v; want a conflict that says RETRY", err)
		}
		if _, err := x.complete(h.claim("e2")); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := x.complete(first); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "attempt 2") {
			t.Errorf("completed too late: %v; want a conflict that says who has it", err)
		}
		if rec, err := x.complete(h.claim("e1")); err != nil || rec.Deliveries[0].Attempts != 2 {
			t.Errorf("the second attempt: %s after %d attempts, %v", rec.Status, rec.Deliveries[0].Attempts, err)
		}
	})
}

// TestTakenOverOutlastsARestart: its claim holds and its lease runs out as it
// would have. An unanswered request was interrupted, and its claim is over.
func TestTakenOverOutlastsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := only(async(g, 2, 10))
		x := newRig(t, c)
		synctest.Wait()
		x.accept(message("e1", "A", "{}"))
		first := g.next(t)
		g.answers <- taken
		x.accept(message("e2", "A", "{}"))
		second := g.next(t)
		synctest.Wait()
		began := time.Now()

		h := &taker{}
		y := x.crash(only(async(h, 2, 10)))
		synctest.Wait()
		if rec := y.find("e1"); rec.Status != event.InProgress || rec.Deliveries[0].Interruptions != 0 || y.info("h").Claims != 1 {
			t.Errorf("taken over it is %s, %d open; want IN_PROGRESS and 1", rec.Status, y.info("h").Claims)
		}
		if rec := y.find("e2"); rec.Status != event.Retry || rec.Reason != event.Interrupted {
			t.Errorf("unanswered it is %s %s; want RETRY interrupted", rec.Status, rec.Reason)
		}
		if _, err := y.complete(second.ClaimID); !errors.Is(err, event.ErrConflict) {
			t.Errorf("the interrupted attempt is completed: %v; want a conflict", err)
		}
		z := y.crash(only(async(h, 2, 10)))
		if _, err := z.complete(first.ClaimID); err != nil {
			t.Errorf("completed after two restarts: %v", err)
		}
		time.Sleep(time.Until(began.Add(taken.Lease + time.Second)))
		synctest.Wait()
		if rec := y.find("e1"); rec.Status != event.Retry || rec.Reason != event.ClaimExpired {
			t.Errorf("not completed it is %s %s; want RETRY claim_expired", rec.Status, rec.Reason)
		}
	})
}

// TestAsyncMost: a handler has no more than it may, and gets the next when it has
// concluded one.
func TestAsyncMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &taker{}
		x := newRig(t, only(async(h, 8, 3)))
		synctest.Wait()
		x.accept(batchOf(9)...)
		for i := range 9 {
			time.Sleep(time.Second)
			synctest.Wait()
			if n, open := len(strings.Split(h.sent(), ",")), x.info("h").Claims; n != min(i+3, 9) || open != min(3, 9-i) {
				t.Fatalf("with %d concluded, %d were sent and %d are open; want at most 3 open", i, n, open)
			}
			id := fmt.Sprint("e", i)
			if i%2 == 0 {
				if _, err := x.complete(h.claim(id)); err != nil {
					t.Fatal(err)
				}
			} else if _, err := x.FailClaim(context.Background(), h.claim(id), "", event.ClaimFailure{}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := x.store.Counts()[event.Inbound]; n[event.Completed] != 5 || n[event.Error] != 4 {
			t.Errorf("in the end: %v; want 5 COMPLETED and 4 ERROR", n)
		}
	})
}

// TestReloadOfAnAsynchronousHandler: what is taken over is concluded, whatever
// becomes of the handler.
func TestReloadOfAnAsynchronousHandler(t *testing.T) {
	for name, c := range map[string]router.Config{
		"no longer asynchronous": only(handlerTo("h", &script{})),
		"polled":                 only(polled("h")),
		"gone":                   only(handlerTo("other", &script{})),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &taker{}
				x := newRig(t, only(async(h, 1, 10)))
				x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"))
				synctest.Wait()
				x.reload(c)
				synctest.Wait()
				if _, err := x.complete(h.claim("e1")); err != nil {
					t.Error(err)
				}
				time.Sleep(taken.Lease + time.Millisecond)
				synctest.Wait()
				if rec := x.find("e2"); rec.Timeline[2].Reason != event.ClaimExpired {
					t.Errorf("the other: %s; want claim_expired", shape(rec))
				}
			})
		})
	}
}

// TestClaimsAndAnswersAtOnce use claims before, while and after the answer to the
// request is stored. Each event is completed once, and no lease stays behind.
func TestClaimsAndAnswersAtOnce(t *testing.T) {
	const events = 500
	var x *rig
	var all sync.WaitGroup
	var mu sync.Mutex
	completed := map[string]int{}
	conclude := func(chance *rand.Rand, a *event.Attempt) error {
		switch n := chance.IntN(10); {
		case n == 0 && a.Number < 5:
			return only2(x.FailClaim(context.Background(), a.ClaimID, "", event.ClaimFailure{Retry: true}))
		case n == 1 && a.Number < 5:
			return only2(x.ReleaseClaim(context.Background(), a.ClaimID, ""))
		}
		_, err := x.complete(a.ClaimID)
		if err == nil {
			mu.Lock()
			completed[a.Event.ID]++
			mu.Unlock()
		}
		return err
	}
	d := deliver(func(_ context.Context, a *event.Attempt) event.Answer {
		attempt := *a
		chance := rand.New(rand.NewPCG(uint64(len(a.ClaimID)), a.Event.Seq<<8+uint64(a.Number)))
		all.Go(func() {
			if err := conclude(chance, &attempt); err != nil {
				t.Errorf("%s, attempt %d: %v", attempt.Event.ID, attempt.Number, err)
			}
		})
		return taken
	})
	h := async(d, 8, 40)
	h.Policy = retry.Policy{Backoff: retry.Constant, Initial: time.Millisecond}
	x = newRig(t, only(h))
	x.accept(batchOf(events)...)
	until(t, "all are COMPLETED", func() bool { return x.store.Counts()[event.Inbound][event.Completed] == events })
	all.Wait()
	until(t, "no claim is open", func() bool { return x.info("h").Claims == 0 && x.info("h").InFlight == 0 })
	if len(completed) != events {
		t.Errorf("%d events are completed; want %d", len(completed), events)
	}
	for id, n := range completed {
		if n != 1 {
			t.Errorf("%s is completed %d times", id, n)
		}
	}
}

// TestReleasedAfterAReload: an attempt that was pushed stays on record, though the
// handler is polled by now.
func TestReleasedAfterAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &taker{}
		x := newRig(t, only(async(h, 1, 10)))
		x.accept(message("e1", "A", "{}"))
		synctest.Wait()
		x.reload(only(polled("h")))
		for n := range 2 { // the second one is claimed
			id := h.claim("e1")
			if n > 0 {
				id = x.claimOne("w").ID
			}
			rec, err := x.ReleaseClaim(context.Background(), id, "")
			if err != nil {
				t.Fatal(err)
			}
			if d := rec.Deliveries[0]; d.Attempts != 1 || d.Uncharged != 1 {
				t.Errorf("%d attempts, %d of them uncharged; want 1 and 1", d.Attempts, d.Uncharged)
			}
		}
	})
}
