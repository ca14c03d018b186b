package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// outage is a service that is down for a time, and notes when it was asked.
type outage struct {
	mu     sync.Mutex
	down   bool
	failed int
	served []time.Time
}

// ServeHTTP implements [http.Handler].
func (o *outage) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		o.failed++
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	o.served = append(o.served, time.Now())
}

func (o *outage) end() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = false
	return time.Now()
}

// most returns the most requests in any span of time.
func (o *outage) most(span time.Duration) (most int) {
	from := 0
	for i, at := range o.served {
		for at.Sub(o.served[from]) >= span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// TestComeback lets a handler be down while very much is due to it. No attempt is
// charged while its breaker is open; when it is back its backlog comes at no more
// than its rate, and all of it is handled. EVENTD_COMEBACK_EVENTS and
// EVENTD_COMEBACK_DOWN set how much and how long, 1,500 and 2s when they are not
// set; the rate is 1,000 a second.
func TestComeback(t *testing.T) {
	const perSecond, failures, slots = 1000, 5, 64
	n, open := sized(t, "EVENTD_COMEBACK_EVENTS", 1500), 500*time.Millisecond
	down, err := time.ParseDuration(os.Getenv("EVENTD_COMEBACK_DOWN"))
	if err != nil {
		down = 2 * time.Second
	}
	o := &outage{down: true}
	h := httptest.NewServer(o)
	defer h.Close()
	s := newSite(t, fmt.Sprintf(`
service: COMEBACK
log: {level: warn}
nats: {embedded: {listen: none}}
retry: {default: {backoff: constant, initial: 1s, max_attempts: unlimited}}
handlers:
  h: {http: %q, concurrency: %d, rate_limit: %d/s, breaker: {failures: %d, open: %s}}
routes: [{message_type: WAITING, handler: h}]
`, h.URL, slots, perSecond, failures, open))
	s.fillStore(func(l *ledger) {
		now := time.Now()
		for i := range n {
			l.retry(fmt.Sprint("due-", i), "WAITING", "h", now)
		}
	})
	p := s.start()
	s.up(p)
	<-time.After(down)
	back := o.end()
	s.completes(p, n, patience+2*time.Duration(n/perSecond)*time.Second)
	o.mu.Lock()
	defer o.mu.Unlock()
	// Those that open it, what runs beside the last of them, and a trial each time.
	if most := failures + slots + int(down/open) + 2; o.failed > most {
		t.Errorf("%d attempts in %s down; want at most %d", o.failed, down, most)
	}
	if len(o.served) != n {
		t.Errorf("%d were handled; want each of %d once", len(o.served), n)
	}
	most := o.most(time.Second)
	// What has begun may get there late, at most as many as there are slots.
	if limit := perSecond + slots; most > limit {
		t.Errorf("%d attempts within a second; want at most %d", most, limit)
	}
	charged := 0
	for _, r := range s.all("request") {
		charged += r.Attempts - 1
	}
	if charged != o.failed+len(o.served) {
		t.Errorf("%d attempts are on record; want the %d that were made", charged, o.failed+len(o.served))
	}
	took := o.served[len(o.served)-1].Sub(back)
	t.Logf("%d due, down %s: %d attempts meanwhile; back after %s, at most %d in a second, the first %d took %s, all COMPLETED after %s (%.0f/s)",
		n, down, o.failed, o.served[0].Sub(back).Round(time.Millisecond), most, slots,
		o.served[slots].Sub(o.served[0]).Round(time.Millisecond), took.Round(time.Millisecond), float64(n)/took.Seconds())
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// completes waits until so many requests are COMPLETED.
func (s *site) completes(p *process, n int, within time.Duration) {
	s.t.Helper()
	for deadline := time.Now().Add(within); ; <-time.After(50 * time.Millisecond) {
		status, err := s.client().Status(context.Background())
		if err != nil && !interruptible(err) {
			s.t.Fatal(err)
		}
		done := status.Counts["request"][event.Completed.String()]
		if done == n {
			return
		}
		if p.over() || time.Now().After(deadline) {
			s.t.Fatalf("%d of %d are COMPLETED", done, n)
		}
	}
}
