package router_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/router"
)

// pulse is what a service says of its health, and when it was asked.
type pulse struct {
	mu    sync.Mutex
	sick  bool
	asked []time.Time
}

func (p *pulse) Probe(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, time.Now())
	if p.sick {
		return errors.New("GET /healthz: 503 Service Unavailable")
	}
	return nil
}

func (p *pulse) set(sick bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick = sick
}

func (p *pulse) probes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

func withHealth(h router.Handler, p router.Prober) router.Handler {
	h.Health = &router.Health{Prober: p, Interval: 10 * time.Second, Failures: 3}
	return h
}

// TestUnhealthyHandlerGetsNothing: after three failed probes in a row events wait
// and no attempt of them is counted; one good probe lets them go on.
func TestUnhealthyHandlerGetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := &script{}, &pulse{}
		x := newRig(t, only(withHealth(handlerTo("h", h), p)))
		synctest.Wait()
		if p.probes() != 1 {
			t.Fatalf("%d probes at the start; want one", p.probes())
		}
		p.set(true)
		advance(23 * time.Second) // two probes
		x.accept(message("before", "A", "{}"))
		synctest.Wait()
		if i := x.info("h"); h.count() != 1 || !i.UnhealthySince.IsZero() || i.HealthProblem == "" {
			t.Fatalf("after two failed probes: %d attempts, %+v; want one, and the problem told", h.count(), i)
		}
		advance(11 * time.Second)
		x.accept(batchOf(20)...)
		advance(time.Minute)
		i := x.info("h")
		if h.count() != 1 || i.UnhealthySince.IsZero() || i.Queue != 20 || i.HealthProblem != "GET /healthz: 503 Service Unavailable" {
			t.Errorf("while it is not well: %d attempts, %+v; want one, and 20 waiting", h.count(), i)
		}
		for _, rec := range x.all() {
			if d := rec.Deliveries[0]; rec.ID != "before" && (d.Status != event.Unprocessed || d.Attempts != 0) {
				t.Errorf("%s is %s with %d attempts; want UNPROCESSED, none", rec.ID, d.Status, d.Attempts)
			}
		}
		p.set(false)
		advance(11 * time.Second)
		if i := x.info("h"); !i.UnhealthySince.IsZero() || i.HealthProblem != "" || h.count() != 21 {
			t.Errorf("after a good probe: %d attempts, %+v; want 21, and well", h.count(), i)
		}
		for i := range p.asked[1:] {
			if pause := p.asked[i+1].Sub(p.asked[i]); pause < 9*time.Second || pause > 11*time.Second {
				t.Errorf("%s between two probes; want 10s, a tenth more or less", pause)
			}
		}
	})
}

// TestProbesFollowTheConfiguration: a reload asks anew at once and keeps what was
// found; without health nobody is asked and everything goes on.
func TestProbesFollowTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p, q := &script{}, &pulse{sick: true}, &pulse{}
		x := newRig(t, only(withHealth(handlerTo("h", h), p)))
		advance(time.Minute)
		x.accept(message("e1", "A", "{}"))
		asked := p.probes()

		x.reload(only(withHealth(handlerTo("h", h), p)))
		synctest.Wait()
		if p.probes() != asked+1 || h.count() != 0 || x.info("h").UnhealthySince.IsZero() {
			t.Errorf("after a reload: %d probes more, %d attempts; want one, none", p.probes()-asked, h.count())
		}
		x.reload(only(withHealth(handlerTo("h", h), q)))
		synctest.Wait()
		if q.probes() != 1 || h.count() != 1 {
			t.Errorf("with a service that is well: %d probes, %d attempts; want one each", q.probes(), h.count())
		}
		q.set(true)
		advance(time.Minute)
		x.accept(message("e2", "A", "{}"))
		x.reload(only(handlerTo("h", h)))
		asked = q.probes()
		advance(time.Minute)
		if q.probes() != asked || h.count() != 2 || !x.info("h").UnhealthySince.IsZero() {
			t.Errorf("without health: %d probes, %d attempts; want none, 2", q.probes()-asked, h.count())
		}
		x.reload(router.Config{})
		x.reload(only(withHealth(handlerTo("h", h), q)))
		advance(time.Minute)
		x.reload(router.Config{})
		asked = q.probes()
		advance(time.Minute)
		if q.probes() != asked {
			t.Errorf("%d probes of a handler that is configured away; want none", q.probes()-asked)
		}
	})
}

// stuck is a probe that ends with its context alone.
type stuck struct{ entered chan struct{} }

func (s *stuck) Probe(ctx context.Context) error {
	s.entered <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// TestStopEndsProbes and what they find then says nothing.
func TestStopEndsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{entered: make(chan struct{})}
		h := withHealth(handlerTo("h", &script{}), s)
		h.Health.Failures = 1
		x := newRig(t, only(h))
		<-s.entered
		x.stop(time.Minute)
		if !x.info("h").UnhealthySince.IsZero() {
			t.Error("a probe that was ended counts as a failure")
		}
	})
}

// TestReturningHandlerBeginsGently after each way to be closed off: with one
// attempt, then with as many more as end well, up to its concurrency.
func TestReturningHandlerBeginsGently(t *testing.T) {
	for name, close := range map[string]func(*rig, *gate, *pulse){
		"unhealthy": func(x *rig, g *gate, p *pulse) {
			p.set(true)
			advance(time.Minute)
			g.answers <- done // of before: says nothing
			synctest.Wait()
			p.set(false)
			advance(11 * time.Second)
		},
		"resting": func(x *rig, g *gate, _ *pulse) {
			g.answers <- event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(429), Uncharged: true, Rest: time.Minute}
			advance(time.Minute)
		},
		"breaker": func(x *rig, g *gate, _ *pulse) {
			g.answers <- again
			advance(time.Minute)
			if info := x.info("h"); info.BreakerUntil.IsZero() {
				x.t.Error("the breaker is closed")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const slots = 8
				g, p := newGate(), &pulse{}
				h := withPolicy(withConcurrency(withHealth(handlerTo("h", g), p), slots), late)
				h.Breaker = &router.Breaker{Failures: 1, Open: time.Minute}
				x := newRig(t, only(h))
				defer x.stop(time.Millisecond)
				synctest.Wait()
				x.accept(message("first", "A", "{}"))
				g.next(t)
				close(x, g, p)
				x.accept(batchOf(100)...)
				synctest.Wait()
				for round, want := range []int{1, 2, 4, 8, 8} {
					for range want {
						g.next(t)
					}
					synctest.Wait()
					if i := x.info("h"); i.InFlight != want || i.Ramp != want%slots {
						t.Fatalf("round %d: %d attempts, ramp %d; want %d, %d", round, i.InFlight, i.Ramp, want, want%slots)
					}
					for range want {
						g.answers <- done
					}
					synctest.Wait()
				}
			})
		})
	}
}

// rested returns a handler with all its slots in a long attempt but one, that was
// asked to rest and takes again since, with plenty waiting for it.
func rested(t *testing.T, slots int) (*rig, *gate) {
	t.Helper()
	g := newGate()
	x := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", g), slots), late)))
	synctest.Wait()
	x.accept(batchOf(4 * slots)...)
	for range slots {
		g.next(t)
	}
	g.answers <- event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Rest: time.Minute}
	advance(59 * time.Second)
	return x, g
}

// TestResumeEndsTheGentleReturn: who resumes a handler gives it all of its
// concurrency back at once.
func TestResumeEndsTheGentleReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 8
		x, g := rested(t, slots)
		defer x.stop(time.Millisecond)
		for range slots - 1 {
			g.answers <- done
		}
		x.pause("h", true)
		advance(2 * time.Second)
		x.pause("h", false)
		for range slots {
			g.next(t)
		}
		if i := x.info("h"); i.InFlight != slots || i.Ramp != 0 {
			t.Errorf("%d attempts run, ramp %d; want %d, 0", i.InFlight, i.Ramp, slots)
		}
	})
}

// TestGentleReturnBesideLongAttempts: what began before the handler was closed off,
// and still runs, is not waited for, and says nothing of how the handler is now.
func TestGentleReturnBesideLongAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 8
		long := make(chan struct{})
		var mu sync.Mutex
		calls, released := 0, make(chan struct{})
		d := deliver(func(context.Context, *event.Attempt) event.Answer {
			mu.Lock()
			calls++
			n := calls
			mu.Unlock()
			switch {
			case n < slots-1:
				<-long
			case n == slots-1:
				return event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Rest: time.Minute}
			default:
				<-released
			}
			return done
		})
		x := newRig(t, only(withPolicy(withConcurrency(handlerTo("h", d), slots), late)))
		synctest.Wait()
		x.accept(batchOf(slots - 1)...)
		synctest.Wait()
		x.accept(batchOf(4 * slots)...)
		expect := func(when string, fresh, ramp int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if i := x.info("h"); calls-(slots-1) != fresh || i.Ramp != ramp {
				t.Errorf("%s %d have begun, ramp %d; want %d, %d", when, calls-(slots-1), i.Ramp, fresh, ramp)
			}
		}
		expect("in the rest", 0, 1)
		advance(time.Minute)
		expect("after the rest", 1, 1)
		select {
		case released <- struct{}{}:
		case <-time.After(time.Second):
			t.Error("none has begun")
		}
		expect("after one that ended well", 3, 2)
		for range 3 { // of those that are long
			long <- struct{}{}
		}
		expect("after three long ones", 3, 2)
		close(released)
		close(long)
		advance(time.Hour)
		if n := x.store.Counts()[event.Inbound][event.Completed]; n != 4*slots {
			t.Errorf("%d are COMPLETED; want %d", n, 4*slots)
		}
	})
}
