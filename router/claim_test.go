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
	"github.com/eventd-io/eventd/router"
)

const lease = 30 * time.Second

func polled(name string) router.Handler {
	h := withPolicy(handlerTo(name, nil), quick)
	h.Kind, h.Lease, h.Deliverer = "poll", lease, nil
	return h
}

func (x *rig) claim(o event.ClaimOrder) []event.Claim {
	x.t.Helper()
	claims, err := x.Claim(context.Background(), "h", o)
	if err != nil {
		x.t.Fatal(err)
	}
	return claims
}

func (x *rig) claimOne(by string) event.Claim {
	x.t.Helper()
	list := x.claim(event.ClaimOrder{Max: 10, By: by})
	if len(list) != 1 {
		x.t.Fatalf("%d events are claimed; want one", len(list))
	}
	return list[0]
}

func TestClaimIsCompletedWithItsFollowUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, router.Config{
			Routes:   []router.Route{route("A", "h"), route("B", "other")},
			Handlers: []router.Handler{polled("h"), handlerTo("other", &script{})},
		})
		x.accept(message("e1", "A", `{"n":1}`))
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Unprocessed {
			t.Fatalf("before it is claimed it is %s; want UNPROCESSED", rec.Status)
		}
		c := x.claimOne("worker-1")
		if c.Attempt != 1 || string(c.Payload) != `{"n":1}` || c.Record.ID != "e1" || !c.Until.Equal(time.Now().UTC().Add(lease)) {
			t.Errorf("claim = %+v", c)
		}
		if rec := x.find("e1"); rec.Status != event.InProgress || rec.UpdatedBy != "worker-1" {
			t.Errorf("claimed it is %s by %s; want IN_PROGRESS by worker-1", rec.Status, rec.UpdatedBy)
		}
		if again := x.claim(event.ClaimOrder{Max: 10}); len(again) != 0 {
			t.Errorf("it is claimed twice: %+v", again)
		}
		time.Sleep(2 * time.Second)
		rec, err := x.CompleteClaim(context.Background(), c.ID, "", []event.Message{{Event: event.Event{MessageType: "B"}, Payload: []byte("{}")}})
		if err != nil || rec.Status != event.Completed {
			t.Fatalf("completed: %s, %v", rec.Status, err)
		}
		if last := rec.Timeline[len(rec.Timeline)-1]; last.Duration != 2*time.Second {
			t.Errorf("the attempt took %s; want 2s", last.Duration)
		}
		synctest.Wait()
		if children := x.children("e1"); len(children) != 1 {
			t.Errorf("follow-ups: %v; want one", children)
		}
		if _, err := x.CompleteClaim(context.Background(), c.ID, "", nil); !errors.Is(err, event.ErrConflict) || !strings.Contains(err.Error(), "COMPLETED") {
			t.Errorf("completed again: %v; want a conflict that says COMPLETED", err)
		}
		if info := x.info("h"); info.Claims != 0 {
			t.Errorf("%d claims are open; want none", info.Claims)
		}
	})
}

func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		x.accept(message("e1", "A", "{}"))
		first := x.claimOne("worker-1")
		time.Sleep(lease - time.Millisecond)
		if rec := x.find("e1"); rec.Status != event.InProgress {
			t.Errorf("a moment before the lease runs out it is %s", rec.Status)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if rec := x.find("e1"); rec.Status != event.Retry || rec.Reason != event.ClaimExpired {
			t.Errorf("then it is %s %s; want RETRY claim_expired", rec.Status, rec.Reason)
		}
		time.Sleep(time.Second)
		second := x.claimOne("worker-2")
		if second.Attempt != 2 {
			t.Errorf("the second attempt is number %d", second.Attempt)
		}
		for name, late := range map[string]error{
			"complete": only2(x.CompleteClaim(context.Background(), first.ID, "", nil)),
			"fail":     only2(x.FailClaim(context.Background(), first.ID, "", event.ClaimFailure{})),
			"release":  only2(x.ReleaseClaim(context.Background(), first.ID, "")),
			"extend":   only2(x.ExtendClaim(context.Background(), first.ID, "", 0)),
		} {
			if !errors.Is(late, event.ErrConflict) || !strings.Contains(late.Error(), "worker-2") {
				t.Errorf("%s too late: %v; want a conflict that names worker-2", name, late)
			}
		}
		if _, err := x.CompleteClaim(context.Background(), second.ID, "", nil); err != nil {
			t.Error(err)
		}
	})
}

func only2[T any](_ T, err error) error { return err }

func TestExtendedLeaseDoesNotRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		x.accept(message("e1", "A", "{}"))
		c := x.claimOne("worker-1")
		for range 5 {
			time.Sleep(lease - time.Second)
			until, err := x.ExtendClaim(context.Background(), c.ID, "worker-1", 0)
			if err != nil || !until.Equal(time.Now().UTC().Add(lease)) {
				t.Fatalf("extended until %s, %v", until, err)
			}
		}
		if rec := x.find("e1"); rec.Status != event.InProgress || len(rec.Timeline) != 1 {
			t.Errorf("it is %s with %d entries; want IN_PROGRESS with one", rec.Status, len(rec.Timeline))
		}
		if _, err := x.CompleteClaim(context.Background(), c.ID, "", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestFailedClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		x.accept(message("e1", "A", "{}"))
		began := time.Now()
		rec, err := x.FailClaim(context.Background(), x.claimOne("w").ID, "w", event.ClaimFailure{Detail: "no ink", Retry: true, Delay: time.Hour})
		if err != nil || rec.Status != event.Retry || rec.Reason != event.ClaimFailed || !rec.Deliveries[0].NextAttempt.Equal(began.Add(time.Hour).UTC()) {
			t.Errorf("failed: %s %s at %s, %v; want RETRY claim_failed an hour later", rec.Status, rec.Reason, rec.Deliveries[0].NextAttempt, err)
		}
		time.Sleep(time.Hour)
		rec, err = x.FailClaim(context.Background(), x.claimOne("w").ID, "w", event.ClaimFailure{Detail: "broken"})
		if err != nil || rec.Status != event.Error || rec.Reason != event.Rejected || rec.Timeline[len(rec.Timeline)-1].Detail != "broken" {
			t.Errorf("failed for good: %s %s, %v; want ERROR rejected", rec.Status, rec.Reason, err)
		}
	})
}

func TestReleasedClaimIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		x.accept(message("e1", "A", "{}"))
		first := x.claimOne("worker-1")
		time.Sleep(time.Second)
		rec, err := x.ReleaseClaim(context.Background(), first.ID, "worker-1")
		if err != nil || rec.Status != event.Unprocessed || rec.Deliveries[0].Attempts != 0 {
			t.Fatalf("released: %s after %d attempts, %v; want UNPROCESSED after 0", rec.Status, rec.Deliveries[0].Attempts, err)
		}
		second := x.claimOne("worker-2")
		if second.Attempt != 1 || second.ID == first.ID {
			t.Errorf("claimed again: attempt %d as %s", second.Attempt, second.ID)
		}
		if _, err := x.CompleteClaim(context.Background(), first.ID, "", nil); !errors.Is(err, event.ErrConflict) {
			t.Errorf("the released claim is completed: %v; want a conflict", err)
		}
	})
}

// TestClaimsOutlastARestart and run out when they would have.
func TestClaimsOutlastARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		x.accept(message("e1", "A", "{}"), message("e2", "A", "{}"))
		claims := x.claim(event.ClaimOrder{Max: 10})
		synctest.Wait()
		y := x.crash(only(polled("h")))
		if rec := y.find("e1"); rec.Status != event.InProgress {
			t.Errorf("after a crash it is %s; want IN_PROGRESS", rec.Status)
		}
		if info := y.info("h"); info.Claims != 2 {
			t.Errorf("%d claims are open; want 2", info.Claims)
		}
		if _, err := y.CompleteClaim(context.Background(), claims[0].ID, "", nil); err != nil {
			t.Error(err)
		}
		time.Sleep(lease + time.Millisecond)
		synctest.Wait()
		if rec := y.find("e2"); rec.Status != event.Retry || rec.Reason != event.ClaimExpired {
			t.Errorf("the other is %s %s; want RETRY claim_expired", rec.Status, rec.Reason)
		}
	})
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, only(polled("h")))
		synctest.Wait()
		got := make(chan []event.Claim)
		poll := func() { got <- x.claim(event.ClaimOrder{Max: 1, Wait: time.Minute}) }
		began := time.Now()
		go poll()
		time.Sleep(10 * time.Second)
		x.accept(message("e1", "A", "{}"))
		claims := <-got
		if len(claims) != 1 || time.Since(began) != 10*time.Second {
			t.Fatalf("%d events after %s; want one as soon as it came", len(claims), time.Since(began))
		}
		if _, err := x.CompleteClaim(context.Background(), claims[0].ID, "", nil); err != nil {
			t.Error(err)
		}
		began = time.Now()
		go poll()
		if claims := <-got; len(claims) != 0 || time.Since(began) != time.Minute {
			t.Errorf("%d events after %s; want none after a minute", len(claims), time.Since(began))
		}
		x.pause("h", true)
		x.accept(message("e2", "A", "{}"))
		began = time.Now()
		go poll()
		time.Sleep(5 * time.Second)
		x.pause("h", false)
		if claims := <-got; len(claims) != 1 || time.Since(began) != 5*time.Second {
			t.Errorf("%d events after %s; want one when the handler is resumed", len(claims), time.Since(began))
		}
		late := message("e3", "A", "{}")
		late.DeliverAt = time.Now().Add(20 * time.Second)
		x.accept(late)
		began = time.Now()
		go poll()
		if claims := <-got; len(claims) != 1 || time.Since(began) != 20*time.Second {
			t.Errorf("%d events after %s; want one when it is due", len(claims), time.Since(began))
		}
	})
}

func TestClaimIsRefused(t *testing.T) {
	x := newRig(t, router.Config{
		Routes: []router.Route{route("A", "h")}, Handlers: []router.Handler{handlerTo("h", &script{})},
	})
	if _, err := x.Claim(context.Background(), "nobody", event.ClaimOrder{Max: 1}); !errors.Is(err, event.ErrNotFound) {
		t.Errorf("of an unknown handler: %v; want not found", err)
	}
	if _, err := x.Claim(context.Background(), "h", event.ClaimOrder{Max: 1}); !errors.Is(err, event.ErrConflict) {
		t.Errorf("of one that is pushed to: %v; want a conflict", err)
	}
	for _, id := range []string{"", "x", "1-2-3", "1-0-0-1-x", "-1-0-0-1-1", "999-0-0-1-1"} {
		if _, err := x.CompleteClaim(context.Background(), id, "", nil); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("claim %q: %v; want not found", id, err)
		}
	}
}

// TestClaimersAtOnce crash, fail, release and complete by chance. No event is
// with two of them at a time, and each is completed once in the end.
func TestClaimersAtOnce(t *testing.T) {
	const events, claimers = 300, 8
	synctest.Test(t, func(t *testing.T) {
		h := polled("h")
		h.Policy.MaxAttempts = 0
		x := newRig(t, only(h))
		var batch []event.Message
		for i := range events {
			batch = append(batch, message(fmt.Sprint("e", i), "A", "{}"))
		}
		x.accept(batch...)
		var mu sync.Mutex
		until, completed := map[string]time.Time{}, map[string]int{}
		var all sync.WaitGroup
		for n := range claimers {
			all.Go(func() {
				chance, by := rand.New(rand.NewPCG(1, uint64(n))), fmt.Sprint("worker-", n)
				for {
					list := x.claim(event.ClaimOrder{Max: 1 + chance.IntN(5), Lease: time.Second, Wait: 5 * time.Second, By: by})
					if len(list) == 0 {
						return
					}
					for _, c := range list {
						mu.Lock()
						if time.Now().Before(until[c.Record.ID]) {
							t.Errorf("%s is given to %s while another has it", c.Record.ID, by)
						}
						until[c.Record.ID] = c.Until
						mu.Unlock()
						time.Sleep(time.Duration(chance.IntN(100)) * time.Millisecond)
						k := chance.IntN(10)
						if k == 0 { // crashes with it
							continue
						}
						mu.Lock()
						delete(until, c.Record.ID)
						mu.Unlock()
						var err error
						switch k {
						case 1:
							_, err = x.FailClaim(context.Background(), c.ID, by, event.ClaimFailure{Retry: true})
						case 2:
							_, err = x.ReleaseClaim(context.Background(), c.ID, by)
						default:
							if _, err = x.CompleteClaim(context.Background(), c.ID, by, nil); err == nil {
								mu.Lock()
								completed[c.Record.ID]++
								mu.Unlock()
							}
						}
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		if n := x.store.Counts()[event.Inbound][event.Completed]; n != events || len(completed) != events {
			t.Errorf("%d of %d events are COMPLETED, %d of them by a claimer", n, events, len(completed))
		}
		for id, n := range completed {
			if n != 1 {
				t.Errorf("%s is completed %d times", id, n)
			}
		}
	})
}
