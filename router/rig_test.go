package router_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
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
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script answers each attempt of an event with the next of its answers, and
// the last for all further ones.
type script struct {
	mu      sync.Mutex
	answers []event.Answer
	calls   []event.Attempt
}

func (s *script) Deliver(_ context.Context, a *event.Attempt) event.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, *a)
	if len(s.answers) == 0 {
		return event.Answer{Outcome: event.Done, Code: 200}
	}
	return s.answers[min(a.Number, len(s.answers))-1]
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

func (s *script) last() event.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[len(s.calls)-1]
}

type deliver func(context.Context, *event.Attempt) event.Answer

func (f deliver) Deliver(ctx context.Context, a *event.Attempt) event.Answer { return f(ctx, a) }

type noObserver struct{}

func (noObserver) EventReceived(string, string)                                    {}
func (noObserver) EventDuplicate(string)                                           {}
func (noObserver) EventEnded(string, time.Duration)                                {}
func (noObserver) DeliveryEnded(string, event.Status, event.Reason, time.Duration) {}
func (noObserver) RetryLateness(time.Duration)                                     {}

// ledger notes what an observer is told.
type ledger struct {
	noObserver
	mu    sync.Mutex
	facts []string
}

func (l *ledger) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, fmt.Sprintf(format, args...))
}

func (l *ledger) EventDuplicate(source string)                   { l.note("duplicate from %q", source) }
func (l *ledger) EventEnded(messageType string, _ time.Duration) { l.note("%s ended", messageType) }
func (l *ledger) DeliveryEnded(handler string, s event.Status, r event.Reason, _ time.Duration) {
	l.note("%s: %s %s", handler, s, r)
}

// told returns what the observer was told since it was asked last, sorted.
func (l *ledger) told() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.facts)
	s := strings.Join(l.facts, "; ")
	l.facts = nil
	return s
}

var quick = retry.Policy{Backoff: retry.Constant, Initial: 5 * time.Millisecond, MaxAttempts: 4}

// rig is a router on a store of its own.
type rig struct {
	*router.Router
	t     testing.TB
	path  string
	store *storage.DB
}

func newRig(t testing.TB, c router.Config) *rig {
	t.Helper()
	return openRig(t, filepath.Join(t.TempDir(), "eventd.db"), c)
}

func openRig(t testing.TB, path string, c router.Config) *rig {
	t.Helper()
	return openObserved(t, path, noObserver{}, c)
}

func openObserved(t testing.TB, path string, o router.Observer, c router.Config) *rig {
	t.Helper()
	x := openUnstarted(t, path, o, c)
	if err := x.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return x
}

func unstarted(t testing.TB, c router.Config) *rig {
	t.Helper()
	return openUnstarted(t, filepath.Join(t.TempDir(), "eventd.db"), noObserver{}, c)
}

func openUnstarted(t testing.TB, path string, o router.Observer, c router.Config) *rig {
	t.Helper()
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.New(router.Options{Service: "SERVICE_A", Store: prompt{db}, Observer: o, Log: zerolog.Nop()}, c)
	if err != nil {
		t.Fatal(err)
	}
	x := &rig{Router: r, t: t, path: path, store: db}
	t.Cleanup(x.close)
	return x
}

// prompt is a store that never waits for work to share a commit with, so that
// what a test sees at rest is stored.
type prompt struct{ *storage.DB }

func (p prompt) UpdateWithin(ctx context.Context, _ time.Duration, updates ...*event.Update) error {
	return p.DB.UpdateWithin(ctx, 0, updates...)
}

func (x *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	x.Stop(ctx)
	if err := x.store.Close(); err != nil {
		x.t.Error(err)
	}
}

func handlerTo(name string, d router.Deliverer) router.Handler {
	return router.Handler{Name: name, Service: strings.ToUpper(name), Concurrency: 4, Policy: quick, Deliverer: d}
}

func message(id, messageType, payload string) event.Message {
	return event.Message{
		Event:   event.Event{Table: event.Inbound, ID: id, MessageType: messageType, SourceService: "UPSTREAM", CreatedBy: "UPSTREAM"},
		Payload: []byte(payload),
	}
}

func (x *rig) accept(m ...event.Message) {
	x.t.Helper()
	if _, err := x.Accept(context.Background(), m); err != nil {
		x.t.Fatal(err)
	}
}

// await returns the only event with the given id once it has the status.
func (x *rig) await(id string, want event.Status) event.Record {
	x.t.Helper()
	var last event.Record
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		list, err := x.store.Find(context.Background(), id)
		if err != nil {
			x.t.Fatal(err)
		}
		if len(list) > 0 && list[0].Status == want {
			return list[0]
		}
		if len(list) > 0 {
			last = list[0]
		}
	}
	x.t.Fatalf("event %s is %s %s after 5s; want %s", id, last.Status, last.Reason, want)
	return last
}

func statuses(rec event.Record) string {
	var list []string
	for _, e := range rec.Timeline {
		list = append(list, e.Status.String())
	}
	return strings.Join(list, " ")
}

// gate holds every attempt until it is told the answer, or the router gives it
// up.
type gate struct {
	entered chan *event.Attempt
	answers chan event.Answer
}

func newGate() *gate {
	return &gate{entered: make(chan *event.Attempt), answers: make(chan event.Answer)}
}

func (g *gate) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	select {
	case g.entered <- a:
	case <-ctx.Done():
		return abandoned
	}
	select {
	case answer := <-g.answers:
		return answer
	case <-ctx.Done():
		return abandoned
	}
}

// next returns the next attempt that has begun.
func (g *gate) next(t testing.TB) *event.Attempt {
	t.Helper()
	select {
	case a := <-g.entered:
		return a
	case <-time.After(patience):
		t.Fatal("no attempt began")
		return nil
	}
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

var (
	done      = event.Answer{Outcome: event.Done, Code: 200}
	again     = event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Code: 503}
	rejected  = event.Answer{Outcome: event.Never, Reason: event.Rejected, Code: 400}
	abandoned = event.Answer{Outcome: event.Again, Reason: event.Interrupted}
)

// late is a policy whose retries do not come while a test lasts.
var late = retry.Policy{Backoff: retry.Constant, Initial: time.Hour, MaxAttempts: 10}

// route leads the message type named like it to handlers.
func route(messageType string, handlers ...string) router.Route {
	return router.Route{Name: "to-" + messageType, MessageTypes: []string{messageType}, Handlers: handlers}
}

// only is a configuration in which everything goes to one handler.
func only(h router.Handler) router.Config {
	return router.Config{Routes: []router.Route{route("*", h.Name)}, Handlers: []router.Handler{h}}
}

func withConcurrency(h router.Handler, n int) router.Handler {
	h.Concurrency = n
	return h
}

func withPolicy(h router.Handler, p retry.Policy) router.Handler {
	h.Policy = p
	return h
}

// until waits for a condition.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}

// advance lets time pass inside a synctest bubble, and all come to rest that
// has something to do then.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// only one event has this id.
func (x *rig) find(id string) event.Record {
	x.t.Helper()
	list, err := x.store.Find(context.Background(), id)
	if err != nil || len(list) != 1 {
		x.t.Fatalf("%d events with id %s, %v; want 1", len(list), id, err)
	}
	return list[0]
}

// all returns every event with its timeline, oldest first.
func (x *rig) all() (list []event.Record) {
	x.t.Helper()
	page := event.Page{Limit: 500, OldestFirst: true}
	for {
		records, next, err := x.store.List(context.Background(), event.Filter{}, page)
		if err != nil {
			x.t.Fatal(err)
		}
		for i := range records {
			rec, err := x.store.Get(context.Background(), records[i].Seq)
			if err != nil {
				x.t.Fatal(err)
			}
			list = append(list, rec)
		}
		if next == 0 {
			return list
		}
		page.After = next
	}
}

func (x *rig) outbox() []event.Publication {
	x.t.Helper()
	list, err := x.store.Outbox(context.Background(), 0, 10_000)
	if err != nil {
		x.t.Fatal(err)
	}
	return list
}

func (x *rig) info(handler string) event.HandlerInfo {
	x.t.Helper()
	for _, h := range x.Handlers() {
		if h.Name == handler {
			return h
		}
	}
	x.t.Fatalf("no handler %s", handler)
	return event.HandlerInfo{}
}

func (x *rig) reload(c router.Config) {
	x.t.Helper()
	if err := x.Reload(c); err != nil {
		x.t.Fatal(err)
	}
}

func (x *rig) pause(handler string, paused bool) {
	x.t.Helper()
	if err := x.SetHandlerPaused(context.Background(), handler, paused); err != nil {
		x.t.Fatal(err)
	}
}

func (x *rig) redrive(id string, o event.RedriveOrder) (event.Record, error) {
	x.t.Helper()
	o.By = cmp.Or(o.By, "alice")
	return x.Redrive(context.Background(), x.find(id).Seq, o)
}

// stop stops the router with the given patience for attempts that run.
func (x *rig) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	x.Stop(ctx)
}

// copyOf returns a copy of a store's file, as a crash at this moment would
// leave it. Nothing must be written meanwhile.
func copyOf(t testing.TB, path string) string {
	t.Helper()
	from, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	name := filepath.Join(t.TempDir(), "eventd.db")
	to, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// shape is a timeline in one line: status, attempt and reason of each entry.
func shape(rec event.Record) (s string) {
	for i, e := range rec.Timeline {
		if i > 0 {
			s += ", "
		}
		s += e.Status.String()
		if e.Attempt > 0 {
			s += fmt.Sprint(" ", e.Attempt)
		}
		if e.Reason != "" {
			s += " " + string(e.Reason)
		}
	}
	return s
}
