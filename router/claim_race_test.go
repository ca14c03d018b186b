package router_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/storage"
	"github.com/rs/zerolog"
)

// between is a store that lets something else happen once, between what was read
// for a step and its commit.
type between struct {
	prompt
	mu      sync.Mutex
	happens func()
}

// let sets what is to happen.
func (s *between) let(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happens = f
}

func (s *between) UpdateWithin(ctx context.Context, patience time.Duration, updates ...*event.Update) error {
	s.mu.Lock()
	f := s.happens
	s.happens = nil
	s.mu.Unlock()
	if f != nil {
		f()
	}
	return s.prompt.UpdateWithin(ctx, patience, updates...)
}

func racing(t *testing.T) (*rig, *between) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eventd.db")
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s := &between{prompt: prompt{db}}
	c := router.Config{
		Routes:   []router.Route{route("*", "h", "g")},
		Handlers: []router.Handler{polled("h"), polled("g")},
	}
	r, err := router.New(router.Options{Service: "SERVICE_A", Instance: "7f3a", Store: s, Observer: noObserver{}, Log: zerolog.Nop()}, c)
	if err != nil {
		t.Fatal(err)
	}
	x := &rig{Router: r, t: t, path: path, store: db}
	t.Cleanup(x.close)
	if err := x.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return x, s
}

// claimSteps are the things that can be done with a claim.
func (x *rig) claimSteps() map[string]func(id string) error {
	ctx := context.Background()
	return map[string]func(id string) error{
		"complete": func(id string) error { return only2(x.CompleteClaim(ctx, id, "", nil)) },
		"fail":     func(id string) error { return only2(x.FailClaim(ctx, id, "", event.ClaimFailure{Retry: true})) },
		"release":  func(id string) error { return only2(x.ReleaseClaim(ctx, id, "")) },
		"extend":   func(id string) error { return only2(x.ExtendClaim(ctx, id, "", time.Hour)) },
	}
}

// TestOldClaimDoesNotActOnTheNext: after it was read that the claim holds, it is
// released, and the event is claimed by another, as the same attempt. With a long
// history the beginning of the claim is not in the state that a step sees.
func TestOldClaimDoesNotActOnTheNext(t *testing.T) {
	for _, verb := range []string{"complete", "fail", "release", "extend"} {
		for _, history := range []int{0, 3, 6, 12} {
			t.Run(fmt.Sprint(verb, " after ", history), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x, s := racing(t)
					x.accept(message("e1", "A", "{}"))
					for range history {
						time.Sleep(time.Second)
						if _, err := x.ReleaseClaim(context.Background(), x.claimOne("worker-0").ID, ""); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Second)
					old := x.claimOne("worker-1")
					var newer event.Claim
					s.let(func() {
						if _, err := x.ReleaseClaim(context.Background(), old.ID, "worker-1"); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Second)
						// Its lease ends when the old one would have.
						newer = x.claim(event.ClaimOrder{Max: 1, By: "worker-2", Lease: lease - time.Second})[0]
					})
					err := x.claimSteps()[verb](old.ID)
					if !errors.Is(err, event.ErrConflict) || !strings.Contains(fmt.Sprint(err), "worker-2") {
						t.Errorf("%s with the old claim: %v; want a conflict that names worker-2", verb, err)
					}
					if newer.Attempt != old.Attempt {
						t.Errorf("the newer claim is attempt %d, the old one %d; want the same", newer.Attempt, old.Attempt)
					}
					rec := x.find("e1")
					if d := rec.Deliveries[0]; d.Status != event.InProgress || rec.UpdatedBy != "worker-2" || !d.NextAttempt.Equal(newer.Until) {
						t.Errorf("then it is %s by %s until %s; want it with worker-2 until %s", d.Status, rec.UpdatedBy, d.NextAttempt, newer.Until)
					}
					if _, err := x.CompleteClaim(context.Background(), newer.ID, "worker-2", nil); err != nil {
						t.Errorf("the newer claim: %v", err)
					}
				})
			})
		}
	}
}

// TestClaimHoldsWhileOthersAct: of a fan-out, or when the lease is extended
// meanwhile, the step is taken all the same.
func TestClaimHoldsWhileOthersAct(t *testing.T) {
	for _, verb := range []string{"complete", "fail", "release", "extend"} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, s := racing(t)
				x.accept(message("e1", "A", "{}"))
				c := x.claimOne("worker-1")
				other, err := x.Claim(context.Background(), "g", event.ClaimOrder{Max: 1, By: "worker-2"})
				if err != nil || len(other) != 1 {
					t.Fatal(other, err)
				}
				s.let(func() {
					time.Sleep(time.Second)
					if _, err := x.ExtendClaim(context.Background(), c.ID, "worker-1", time.Minute); err != nil {
						t.Error(err)
					}
					if _, err := x.CompleteClaim(context.Background(), other[0].ID, "worker-2", nil); err != nil {
						t.Error(err)
					}
				})
				if err := x.claimSteps()[verb](c.ID); err != nil {
					t.Errorf("%s: %v", verb, err)
				}
			})
		})
	}
}

// TestLeaseThatIsExtendedWhileItEnds is not forgotten: it ends later.
func TestLeaseThatIsExtendedWhileItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := racing(t)
		x.accept(message("e1", "A", "{}"))
		c := x.claimOne("worker-1")
		s.let(func() { // in the commit that ends the lease
			if _, err := x.ExtendClaim(context.Background(), c.ID, "", time.Minute); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(lease + time.Second)
		synctest.Wait()
		if rec, info := x.find("e1"), x.info("h"); rec.Deliveries[0].Status != event.InProgress || info.Claims != 1 {
			t.Errorf("extended in the last moment it is %s, with %d claims open", rec.Deliveries[0].Status, info.Claims)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if rec, info := x.find("e1"), x.info("h"); rec.Deliveries[0].Reason != event.ClaimExpired || info.Claims != 0 {
			t.Errorf("then it is %s, with %d claims open; want claim_expired", rec.Deliveries[0].Reason, info.Claims)
		}
	})
}

// TestClaimOfAnotherStore is not looked for in this one.
func TestClaimOfAnotherStore(t *testing.T) {
	x, _ := racing(t)
	x.accept(message("e1", "A", "{}"))
	id := x.claimOne("w").ID
	rest, ok := strings.CutPrefix(id, "7f3a.")
	if !ok {
		t.Fatalf("claim %s does not say whose it is", id)
	}
	for _, verb := range x.claimSteps() {
		if err := verb("8888." + rest); !errors.Is(err, event.ErrNotFound) {
			t.Errorf("of another store: %v; want not found", err)
		}
	}
	if _, err := x.CompleteClaim(context.Background(), id, "", nil); err != nil {
		t.Error(err)
	}
}

// TestOpenClaimsAreCounted after a claim, an expiry, a release, a failure, a
// completion, and a crash; an extension that comes after the end counts nothing.
func TestOpenClaimsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		facts := &ledger{}
		x := openObserved(t, filepath.Join(t.TempDir(), "eventd.db"), facts, only(polled("h")))
		want := func(when string, n int) {
			t.Helper()
			synctest.Wait()
			if got := x.info("h").Claims; got != n {
				t.Errorf("%s: %d claims are open; want %d", when, got, n)
			}
		}
		for i := range 6 {
			x.accept(message(fmt.Sprint("e", i), "A", "{}"))
		}
		long := x.claim(event.ClaimOrder{Max: 5, Lease: time.Hour})
		want("claimed", 5)
		x.claimOne("w")
		want("one more", 6)
		time.Sleep(lease + time.Millisecond)
		want("one ran out", 5)
		if told := facts.told(); !strings.Contains(told, "h: RETRY claim_expired") {
			t.Errorf("the observer is told %q; want a retry claim_expired", told)
		}
		steps := x.claimSteps()
		for i, verb := range []string{"complete", "fail", "release"} {
			if err := steps[verb](long[i].ID); err != nil {
				t.Error(err)
			}
			want(verb, 4-i)
		}
		if err := steps["extend"](long[3].ID); err != nil {
			t.Error(err)
		}
		want("extended", 2)
		if err := steps["extend"](long[0].ID); !errors.Is(err, event.ErrConflict) {
			t.Errorf("extended after its end: %v", err)
		}
		want("extended after its end", 2)
		y := x.crash(only(polled("h")))
		if got := y.info("h").Claims; got != 2 {
			t.Errorf("after a crash %d claims are open; want 2", got)
		}
	})
}
