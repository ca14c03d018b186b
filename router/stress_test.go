package router_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
)

var storms = flag.Int("storms", 2, "how many storms to go through")

// storm does everything to a router at once: events come in bursts, handlers
// give all kinds of answers, people pause, redrive, cancel and reload.
type storm struct {
	t       *testing.T
	x       *rig
	seed    uint64
	calm    atomic.Bool // attempts succeed from now on
	workers []*worker
	sent    atomic.Int64
	serial  atomic.Int64
}

// worker is a handler in a storm. It notes every execution.
type worker struct {
	storm *storm
	name  string
	slots int

	mu         sync.Mutex
	random     *rand.Rand
	running    int
	most       int
	executions map[uint64]int // by seq
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{t: t, seed: seed}
	for i := range 6 {
		s.workers = append(s.workers, &worker{
			storm: s, name: fmt.Sprint("h", i), slots: 1 + (i*i+int(seed))%8,
			random: s.random(uint64(100 + i)), executions: map[uint64]int{},
		})
	}
	s.x = newRig(t, s.config(s.workers))
	return s
}

func (s *storm) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }

func (w *worker) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	pause, answer := w.enter(a)
	defer w.leave()
	if pause > 0 {
		select {
		case <-ctx.Done():
			return abandoned
		case <-time.After(pause):
		}
	}
	return answer
}

func (w *worker) enter(a *event.Attempt) (time.Duration, event.Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.executions[a.Event.Seq]++
	w.running++
	w.most = max(w.most, w.running)
	if w.storm.calm.Load() {
		return 0, done
	}
	var pause time.Duration
	if w.random.IntN(3) == 0 {
		pause = time.Duration(w.random.IntN(3000)) * time.Microsecond
	}
	return pause, w.answer()
}

func (w *worker) answer() event.Answer {
	some := time.Duration(w.random.IntN(8)) * time.Millisecond
	switch n := w.random.IntN(100); {
	case n < 20:
		return again
	case n < 24:
		return event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(429), Code: 429, Uncharged: true, Rest: some}
	case n < 28:
		return event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Code: 503, Rest: some}
	case n < 32:
		return rejected
	case n < 33:
		return event.Answer{Outcome: event.Never, Reason: event.Gone, Code: 410, Pause: true}
	case n < 45:
		a := done
		for range 1 + w.random.IntN(3) {
			a.FollowUps = append(a.FollowUps, event.Message{Event: event.Event{MessageType: messageType(w.random)}})
		}
		return a
	default:
		return done
	}
}

func (w *worker) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
}

func messageType(random *rand.Rand) string { return fmt.Sprint("T", random.IntN(8)) }

// config gives each type a route, over the workers that are there.
func (s *storm) config(workers []*worker) (c router.Config) {
	policy := retry.Policy{Backoff: retry.Constant, Initial: 2 * time.Millisecond, Jitter: 0.9, MaxAttempts: 3}
	for _, w := range workers {
		c.Handlers = append(c.Handlers, router.Handler{
			Name: w.name, Service: w.name, Concurrency: w.slots, Policy: policy, Deliverer: w,
		})
	}
	for i := range 8 {
		r := router.Route{Name: fmt.Sprint("r", i), MessageTypes: []string{fmt.Sprint("T", i)}}
		for j := range 1 + i%3 {
			r.Handlers = append(r.Handlers, workers[(i+j)%len(workers)].name)
		}
		c.Routes = append(c.Routes, r)
	}
	c.DeadLetter = "dead"
	return c
}

// expected reports whether an error is one of those that people get who act
// on an event that has gone on.
func expected(err error) bool {
	return err == nil || errors.Is(err, event.ErrConflict) || errors.Is(err, event.ErrNotFound)
}

func (s *storm) send(random *rand.Rand) {
	for range 25 {
		now := time.Now()
		var burst []event.Message
		for range 1 + random.IntN(30) {
			m := message(fmt.Sprint("e", s.serial.Add(1)), messageType(random), "{}")
			switch random.IntN(30) {
			case 0: // once more
				m.ID = fmt.Sprint("e", 1+random.Int64N(s.serial.Load()))
			case 1:
				m.DeliverAt = now.Add(time.Duration(random.IntN(20)) * time.Millisecond)
			case 2:
				m.Expires = now.Add(time.Duration(random.IntN(5)) * time.Millisecond)
			}
			burst = append(burst, m)
		}
		receipts, err := s.x.Accept(context.Background(), burst)
		if err != nil {
			s.t.Error(err)
		}
		for _, r := range receipts {
			if !r.Duplicate {
				s.sent.Add(1)
			}
		}
		rest(random)
	}
}

// rest waits a little, or not.
func rest(random *rand.Rand) {
	if random.IntN(2) == 0 {
		<-time.After(time.Duration(random.IntN(4000)) * time.Microsecond)
	}
}

func (s *storm) pause(random *rand.Rand) {
	for range 40 {
		name := s.workers[random.IntN(len(s.workers))].name
		if err := s.x.SetHandlerPaused(context.Background(), name, random.IntN(3) == 0); !expected(err) {
			s.t.Error(err)
		}
		rest(random)
	}
}

func (s *storm) operate(random *rand.Rand) {
	ctx := context.Background()
	for range 150 {
		seq := 1 + random.Uint64N(uint64(s.serial.Load())+10)
		var err error
		one := s.workers[random.IntN(len(s.workers))].name
		switch random.IntN(8) {
		case 6:
			_, err = s.x.Cancel(ctx, seq, event.CancelOrder{By: "bob", Of: one})
		case 7:
			_, err = s.x.Redrive(ctx, seq, event.RedriveOrder{By: "bob", Of: one})
		case 0:
			_, err = s.x.Cancel(ctx, seq, event.CancelOrder{By: "bob"})
		case 1:
			_, err = s.x.Redrive(ctx, seq, event.RedriveOrder{Handler: s.workers[random.IntN(len(s.workers))].name, By: "bob"})
		default:
			_, err = s.x.Redrive(ctx, seq, event.RedriveOrder{By: "bob"})
		}
		if !expected(err) {
			s.t.Error(err)
		}
		if random.IntN(10) == 0 {
			rest(random)
		}
	}
}

func (s *storm) reload(random *rand.Rand) {
	for range 25 {
		var left []*worker
		for _, w := range s.workers {
			if random.IntN(3) > 0 {
				left = append(left, w)
			}
		}
		if len(left) == 0 {
			left = s.workers[:1]
		}
		c := s.config(left)
		if random.IntN(2) == 0 {
			i := random.IntN(len(c.Routes))
			c.Routes = append(c.Routes[:i], c.Routes[i+1:]...)
		}
		if err := s.x.Reload(c); err != nil {
			s.t.Error(err)
		}
		rest(random)
	}
}

// blow lets all happen at once.
func (s *storm) blow() {
	var all sync.WaitGroup
	for i, actor := range []func(*rand.Rand){s.send, s.send, s.send, s.pause, s.operate, s.operate, s.reload} {
		random := s.random(uint64(i))
		all.Go(func() { actor(random) })
	}
	all.Wait()
}

// TestNothingStaysBehindAStorm looks for lost wake-ups. When the storm is over
// and everything is configured and resumed, time passes with nothing new coming
// in; then all must have ended.
func TestNothingStaysBehindAStorm(t *testing.T) {
	for seed := range *storms {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorm(t, uint64(seed))
				s.blow()
				s.settle()
				advance(time.Minute)
				s.resume()
				advance(time.Hour)
				s.check()
			})
		})
	}
}

// TestStormInRealTime is one in which time passes while events are stored.
func TestStormInRealTime(t *testing.T) {
	s := newStorm(t, 1000)
	s.blow()
	s.settle()
	until(t, "all have ended", func() bool {
		s.resume()
		counts := s.x.store.Counts()
		for _, table := range counts {
			if table[event.Unprocessed]+table[event.InProgress]+table[event.Retry] > 0 {
				return false
			}
		}
		list, _, err := s.x.store.List(context.Background(), event.Filter{Reason: event.NoRoute}, event.Page{Limit: 1})
		return err == nil && len(list) == 0
	})
	until(t, "no slot is taken", func() bool {
		for _, w := range s.workers {
			if s.x.info(w.name).InFlight > 0 {
				return false
			}
		}
		return true
	})
	s.check()
}

// settle configures everything and lets all succeed.
func (s *storm) settle() {
	s.calm.Store(true)
	s.x.reload(s.config(s.workers))
	s.resume()
}

// resume resumes the handlers that are paused. The last answers before the calm
// may pause them again.
func (s *storm) resume() {
	for _, w := range s.workers {
		if s.x.info(w.name).Paused {
			s.x.pause(w.name, false)
		}
	}
}

func (s *storm) check() {
	t, records := s.t, s.x.all()
	received := int64(0)
	for i := range records {
		rec := &records[i]
		if rec.Table == event.Inbound {
			received++
		}
		if len(rec.Deliveries) == 0 && rec.Reason != event.Loop && rec.Reason != event.Cancelled {
			t.Errorf("event %s is %s %s and goes nowhere", rec.ID, rec.Status, rec.Reason)
		}
		for _, d := range rec.Deliveries {
			if !d.Status.Final() || d.Reason == event.NoRoute {
				t.Errorf("event %s is %s %s at %s for ever: %.300s", rec.ID, d.Status, d.Reason, d.Handler, shape(*rec))
			}
		}
		s.checkExecutions(rec)
	}
	if received != s.sent.Load() {
		t.Errorf("%d events are stored; want the %d that were accepted as new", received, s.sent.Load())
	}
	for _, w := range s.workers {
		if w.most > w.slots {
			t.Errorf("%s had %d attempts at once; want at most %d", w.name, w.most, w.slots)
		}
		if h := s.x.info(w.name); h.InFlight != 0 || h.Queue != 0 || h.Retries != 0 {
			t.Errorf("%s has %d slots taken, %d waiting, %d retries; want none", w.name, h.InFlight, h.Queue, h.Retries)
		}
	}
	t.Logf("%d events, %d received", len(records), received)
}

// checkExecutions compares what the handlers saw with what the timeline says.
func (s *storm) checkExecutions(rec *event.Record) {
	recorded := map[string]int{}
	for _, e := range rec.Timeline {
		if e.Status == event.InProgress && e.Reason == "" {
			recorded[e.Handler]++
		}
		if strings.HasPrefix(e.Detail, "not sent and not counted") {
			recorded[e.Handler]--
		}
	}
	for _, w := range s.workers {
		if got, want := w.executions[rec.Seq], recorded[w.name]; got != want {
			s.t.Errorf("%s executed %s %d times; %d attempts are on record: %s", w.name, rec.ID, got, want, shape(*rec))
		}
	}
}
