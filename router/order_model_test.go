package router_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
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
	"pgregory.net/rapid"
)

// parade is a router with ordered handlers that everything happens to: pushed
// and polled, answers of all kinds, people, reloads, restarts and crashes.
type parade struct {
	t      *testing.T
	dir    string
	x      *router.Router
	db     *storage.DB
	files  int
	serial int
	claims []event.Claim
	acted  map[uint64]bool // by seq: what a person did something with

	mu       sync.Mutex
	problems []string
	calm     bool
	chances  []int
	flying   map[string]uint64 // key of a handler -> event
}

// TestOrderWhateverHappens: never two of a key in flight, none stuck for ever, and
// what nobody has interfered with ends in the order it came.
func TestOrderWhateverHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := quickFolder(t)
		rapid.Check(undated{t}, func(r *rapid.T) {
			p := &parade{t: t, acted: map[uint64]bool{}, flying: map[string]uint64{}}
			var err error
			if p.dir, err = os.MkdirTemp(dir, "run-"); err != nil {
				t.Fatal(err)
			}
			p.chances = rapid.SliceOfN(rapid.IntRange(0, 99), 8, 64).Draw(r, "answers")
			p.open(filepath.Join(p.dir, "0.db"))
			defer p.close()
			r.Repeat(map[string]func(*rapid.T){
				"accept": p.accept, "accept2": p.accept, "claim": p.claim, "claim2": p.claim, "conclude": p.conclude,
				"pass": p.pass, "person": p.person, "gone": p.gone, "pause": p.pause, "restart": p.restart, "crash": p.crash,
			})
			p.end(r)
			if len(p.problems) > 0 {
				r.Fatal(strings.Join(p.problems, "\n"))
			}
		})
	})
}

// quickFolder returns a folder in memory where there is one: the test asks what is
// stored, not how quickly a disk is.
func quickFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "eventd-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// undated is a test without a deadline, which has no meaning where time is not real.
type undated struct{ testing.TB }

func (p *parade) fail(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(format, args...)
}

// note is fail for who holds mu.
func (p *parade) note(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// Deliver implements [router.Deliverer].
func (p *parade) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	key := a.Handler + string(a.Payload)
	if !strings.Contains(string(a.Payload), "null") {
		p.begin(key, a.Event.Seq)
	}
	p.mu.Lock()
	chance := p.chances[int(a.Event.Seq*7+uint64(a.Number))%len(p.chances)]
	calm := p.calm
	p.mu.Unlock()
	answer, takes := done, time.Duration(chance)*10*time.Millisecond
	switch {
	case calm:
		takes = 0
	case chance < 20:
		answer = again
	case chance < 25:
		answer = rejected
	}
	select {
	case <-ctx.Done():
		answer = abandoned
	case <-time.After(takes):
	}
	p.ended(key, a.Event.Seq)
	return answer
}

func (p *parade) begin(key string, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, busy := p.flying[key]; busy {
		p.note("event %d begins while event %d of %s is in flight", seq, other, key)
	}
	p.flying[key] = seq
}

func (p *parade) ended(key string, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying[key] == seq {
		delete(p.flying, key)
	}
}

var manners = map[string]event.OnFailure{"block": event.Block, "park": event.Park, "skip": event.Skip}

func (p *parade) config(handlers ...string) (c router.Config) {
	policy := retry.Policy{Backoff: retry.Constant, Initial: time.Second, MaxAttempts: 3}
	for _, name := range handlers {
		h := router.Handler{Name: name, Service: name, Concurrency: 3, Policy: policy, Deliverer: p}
		if name == "poll" {
			h.Deliverer, h.Lease = nil, lease
		}
		c.Handlers = append(c.Handlers, h)
	}
	for name, f := range manners {
		r := route(name, "push", "poll")
		r.Handlers = slices.DeleteFunc(r.Handlers, func(h string) bool { return !slices.Contains(handlers, h) })
		r.OrderBy, r.OnFailure = "data.k", f
		if len(r.Handlers) > 0 {
			c.Routes = append(c.Routes, r)
		}
	}
	return c
}

func (p *parade) open(path string) {
	var err error
	if p.db, err = storage.Open(storage.Options{Path: path}); err != nil {
		p.t.Fatal(err)
	}
	o := router.Options{Service: "SERVICE_A", Store: prompt{p.db}, Observer: noObserver{}, Log: zerolog.Nop()}
	if p.x, err = router.New(o, p.config("push", "poll")); err == nil {
		err = p.x.Start(context.Background())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *parade) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.x.Stop(ctx)
	if err := p.db.Close(); err != nil {
		p.fail("%v", err)
	}
}

func (p *parade) accept(r *rapid.T) {
	var list []event.Message
	for range rapid.IntRange(1, 6).Draw(r, "events") {
		p.serial++
		// What has one key has one manner: k of block is another key than k of skip.
		manner := rapid.SampledFrom([]string{"block", "park", "skip"}).Draw(r, "manner")
		key := rapid.SampledFrom([]string{"null", fmt.Sprintf("%q", manner+"1"), fmt.Sprintf("%q", manner+"2")}).Draw(r, "key")
		m := message(fmt.Sprint("e", p.serial), manner, `{"k":`+key+`}`)
		list = append(list, m)
	}
	if _, err := p.x.Accept(context.Background(), list); err != nil {
		p.fail("%v", err)
	}
	p.rest(r)
}

func (p *parade) rest(r *rapid.T) {
	if rapid.Bool().Draw(r, "rest") {
		synctest.Wait()
	}
}

func (p *parade) pass(r *rapid.T) {
	advance(time.Duration(rapid.IntRange(1, 3000).Draw(r, "ms")) * time.Millisecond)
}

func (p *parade) claim(r *rapid.T) {
	list, err := p.x.Claim(context.Background(), "poll", event.ClaimOrder{Max: rapid.IntRange(1, 5).Draw(r, "max")})
	if err != nil && !errors.Is(err, event.ErrNotFound) {
		p.fail("%v", err)
	}
	for _, c := range list {
		if d := c.Record.Deliveries[0]; d.Ordered() {
			p.begin("poll"+d.OrderKey, c.Record.Seq)
		}
	}
	p.claims = append(p.claims, list...)
}

func (p *parade) conclude(r *rapid.T) {
	if len(p.claims) == 0 {
		return
	}
	i := rapid.IntRange(0, len(p.claims)-1).Draw(r, "claim")
	c := p.claims[i]
	p.claims = slices.Delete(p.claims, i, i+1)
	p.ended("poll"+c.Record.Deliveries[0].OrderKey, c.Record.Seq)
	var err error
	ctx := context.Background()
	switch rapid.IntRange(0, 5).Draw(r, "how") {
	case 0:
		_, err = p.x.FailClaim(ctx, c.ID, "", event.ClaimFailure{Retry: true})
	case 1:
		_, err = p.x.FailClaim(ctx, c.ID, "", event.ClaimFailure{})
	case 2:
		_, err = p.x.ReleaseClaim(ctx, c.ID, "")
	case 3:
		advance(lease + time.Second) // it and all others run out
		p.forget()
	default:
		_, err = p.x.CompleteClaim(ctx, c.ID, "", nil)
	}
	if !expected(err) {
		p.fail("%v", err)
	}
}

// forget gives up the claims that are open: nobody holds them any more.
func (p *parade) forget() {
	for _, c := range p.claims {
		p.ended("poll"+c.Record.Deliveries[0].OrderKey, c.Record.Seq)
	}
	p.claims = nil
}

func (p *parade) person(r *rapid.T) {
	if p.serial == 0 {
		return
	}
	seq, err := uint64(rapid.IntRange(1, p.serial).Draw(r, "seq")), error(nil)
	if rapid.Bool().Draw(r, "cancel") {
		_, err = p.x.Cancel(context.Background(), seq, event.CancelOrder{By: "bob", Detail: ""})
	} else {
		_, err = p.x.Redrive(context.Background(), seq, event.RedriveOrder{By: "bob"})
	}
	if !expected(err) {
		p.fail("%v", err)
	}
	if err == nil {
		p.acted[seq] = true
	}
	p.rest(r)
}

// gone takes a handler out of the configuration and puts it back.
func (p *parade) gone(r *rapid.T) {
	left := rapid.SampledFrom([]string{"push", "poll"}).Draw(r, "left")
	if err := p.x.Reload(p.config(left)); err != nil {
		p.fail("%v", err)
	}
	p.accept(r) // to one handler only
	if err := p.x.Reload(p.config("push", "poll")); err != nil {
		p.fail("%v", err)
	}
	p.rest(r)
}

func (p *parade) pause(r *rapid.T) {
	if err := p.x.SetHandlerPaused(context.Background(), "push", rapid.Bool().Draw(r, "paused")); err != nil {
		p.fail("%v", err)
	}
	p.rest(r)
}

func (p *parade) restart(*rapid.T) {
	p.close()
	p.next(p.path())
}

func (p *parade) path() string { return filepath.Join(p.dir, fmt.Sprint(p.files, ".db")) }

// crash goes on with the file as it is.
func (p *parade) crash(*rapid.T) {
	advance(0)
	file, err := os.ReadFile(p.path())
	if err != nil {
		p.t.Fatal(err)
	}
	p.close()
	p.files++
	if err := os.WriteFile(p.path(), file, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.next(p.path())
}

func (p *parade) next(path string) {
	p.mu.Lock()
	clear(p.flying)
	p.mu.Unlock()
	for _, c := range p.claims { // which outlast it
		if d := c.Record.Deliveries[0]; d.Ordered() {
			p.begin("poll"+d.OrderKey, c.Record.Seq)
		}
	}
	p.open(path)
}

// end lets all succeed, and sees that all has come to an end and in which order.
func (p *parade) end(r *rapid.T) {
	p.mu.Lock()
	p.calm = true
	p.mu.Unlock()
	if err := p.x.SetHandlerPaused(context.Background(), "push", false); err != nil {
		p.fail("%v", err)
	}
	advance(2 * lease)
	p.forget()
	for range 20 * (p.serial + 1) {
		if !p.finish(r) {
			break
		}
	}
	records := p.records()
	for _, rec := range records {
		for _, d := range rec.Deliveries {
			if !d.Status.Final() || d.Reason == event.NoRoute {
				p.fail("event %d is %s %s at %s for ever: %s", rec.Seq, d.Status, d.Reason, d.Handler, shape(rec))
			}
		}
	}
	for _, handler := range []string{"push", "poll"} {
		p.checkOrder(records, handler)
		if heads, _, err := p.x.OrderHeads(context.Background(), handler, 10); err != nil || len(heads) > 0 {
			p.fail("%s: keys are blocked at the end: %+v, %v", handler, heads, err)
		}
	}
}

// finish completes what can be claimed and cancels what blocks, and reports whether
// there was any of it.
func (p *parade) finish(*rapid.T) (some bool) {
	ctx := context.Background()
	list, err := p.x.Claim(ctx, "poll", event.ClaimOrder{Max: 100})
	if err != nil {
		p.fail("%v", err)
	}
	for _, c := range list {
		if _, err := p.x.CompleteClaim(ctx, c.ID, "", nil); err != nil {
			p.fail("%v", err)
		}
	}
	for _, handler := range []string{"push", "poll"} {
		heads, _, err := p.x.OrderHeads(ctx, handler, 10)
		if err != nil {
			p.fail("%v", err)
		}
		for _, h := range heads {
			some = true
			if h.Record.Deliveries[h.Delivery].Status == event.Retry {
				continue
			}
			if _, err := p.x.Cancel(ctx, h.Record.Seq, event.CancelOrder{By: "bob", Detail: ""}); !expected(err) {
				p.fail("%v", err)
			}
			p.acted[h.Record.Seq] = true
		}
	}
	advance(2 * time.Second)
	return some || len(list) > 0
}

func (p *parade) records() (list []event.Record) {
	for seq := uint64(1); ; seq++ {
		rec, err := p.db.Get(context.Background(), seq)
		if err != nil {
			return list
		}
		list = append(list, rec)
	}
}

// moved reports whether the routes lead a delivery elsewhere than when it was stored.
func moved(rec *event.Record) bool {
	return slices.ContainsFunc(rec.Timeline, func(e event.Entry) bool {
		return e.Handler != "" && !slices.ContainsFunc(rec.Deliveries, func(d event.Delivery) bool { return d.Handler == e.Handler })
	})
}

// checkOrder looks in which order the events of each key were completed. Those
// that were skipped while they waited may have come later.
func (p *parade) checkOrder(records []event.Record, handler string) {
	type completed struct {
		seq uint64
		at  time.Time
		n   int
	}
	of := map[string][]completed{}
	for _, rec := range records {
		i := slices.IndexFunc(rec.Deliveries, func(d event.Delivery) bool { return d.Handler == handler })
		if i < 0 || p.acted[rec.Seq] || rec.Deliveries[i].Status != event.Completed || !rec.Deliveries[i].Ordered() {
			continue
		}
		skipped := moved(&rec) // it came to this handler later
		for n, e := range rec.Timeline {
			skipped = skipped || e.Handler == handler && e.Status == event.Retry && rec.Deliveries[i].OnFailure == event.Skip
			if e.Handler == handler && e.Status == event.Completed && !skipped {
				key := rec.Deliveries[i].OrderKey
				of[key] = append(of[key], completed{rec.Seq, e.At, n})
			}
		}
	}
	for key, list := range of {
		slices.SortStableFunc(list, func(a, b completed) int { return cmp.Compare(a.seq, b.seq) })
		for i := range list[1:] {
			if list[i+1].at.Before(list[i].at) {
				a, b := &records[list[i].seq-1], &records[list[i+1].seq-1]
				p.fail("%s: of %s event %d (%s) was completed after event %d (%s)", handler, key, a.Seq, shape(*a), b.Seq, shape(*b))
			}
		}
	}
}
