package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/eventd-io/eventd/api/client"
)

// executions counts what a handler was really asked to do, by event.
type executions struct {
	mu      sync.Mutex
	all     map[string]int
	done    map[string]int // answered 200
	running int
	claims  *client.Client // to the daemon, for those who answer later
}

// startHandler starts a handler that takes up to 20 ms, wants one event in ten
// again, and answers the others with a follow-up that leaves its id to eventd.
func startHandler(t *testing.T) (*executions, *httptest.Server) {
	e := &executions{all: map[string]int{}, done: map[string]int{}}
	h := httptest.NewServer(e)
	t.Cleanup(h.Close)
	return e, h
}

// ServeHTTP implements [http.Handler].
func (e *executions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if !e.execute(r.Context(), r.Header.Get("webhook-id")) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/cloudevents+json")
	_, _ = io.WriteString(w, `{"specversion": "1.0", "type": "FOLLOW", "source": "/counting", "data": {"n": 2}}`)
}

// execute takes up to 20 ms and reports whether it went well.
func (e *executions) execute(ctx context.Context, id string) bool {
	e.mu.Lock()
	e.all[id]++
	e.running++
	e.mu.Unlock()
	select {
	case <-time.After(rand.N(20 * time.Millisecond)):
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	if rand.N(10) == 0 {
		return false
	}
	e.done[id]++
	return true
}

// of returns how often an event was executed, and how often well.
func (e *executions) of(id string) (all, done int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all[id], e.done[id]
}

// total returns how many executions there were.
func (e *executions) total() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.all {
		n += v
	}
	return n
}

// inFlight returns how many executions run now.
func (e *executions) inFlight() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

// publisher publishes events with unique ids, as fast as it is allowed, and
// keeps which of them the server has acknowledged. What is not acknowledged is
// published again under the same id, as any careful sender does.
type publisher struct {
	conn *nats.Conn
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	started  map[string]bool // what may be there
	acked    map[string]bool // what must be
	lastSent int
}

// startPublisher begins to publish on a subject, at most so many a second.
func (s *site) startPublisher(subject string, perSecond int) *publisher {
	s.t.Helper()
	conn, err := nats.Connect("nats://127.0.0.1:"+s.nats, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1))
	if err != nil {
		s.t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &publisher{conn: conn, stop: stop, started: map[string]bool{}, acked: map[string]bool{}}
	allowed := rate.NewLimiter(rate.Limit(perSecond), 10)
	for range 8 {
		p.work.Go(func() {
			for allowed.Wait(ctx) == nil {
				p.publish(ctx, js, subject)
			}
		})
	}
	s.t.Cleanup(p.end)
	return p
}

// publish sends one event until it is acknowledged.
func (p *publisher) publish(ctx context.Context, js jetstream.JetStream, subject string) {
	p.mu.Lock()
	p.lastSent++
	id := fmt.Sprintf("event-%06d", p.lastSent)
	p.started[id] = true
	p.mu.Unlock()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		m := nats.NewMsg(subject)
		m.Header.Set(nats.MsgIdHdr, id)
		m.Header.Set("Eventd-Message-Type", "LOAD")
		m.Data = []byte(`{"n": 1}`)
		attempt, stop := context.WithTimeout(ctx, time.Second)
		_, err := js.PublishMsg(attempt, m)
		stop()
		if err == nil {
			p.mu.Lock()
			p.acked[id] = true
			p.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
		case <-again.C:
		}
	}
}

// end stops publishing and waits until nothing is on its way.
func (p *publisher) end() {
	p.stop()
	p.work.Wait()
	p.conn.Close()
}

// count returns how many events are acknowledged.
func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}
