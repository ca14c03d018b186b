package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// arrivals notes when events come in.
type arrivals struct {
	mu   sync.Mutex
	came map[string]time.Time
}

// ServeHTTP implements [http.Handler].
func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.came[r.Header.Get("webhook-id")] = now
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.came)
}

// waited is what was found of a daemon with so many events waiting.
type waited struct {
	ready               time.Duration // from its start
	resident, anonymous int64         // at most, in bytes
	lateness            []time.Duration
	late, retries       int // as its metrics say: over 50 ms, all
}

// TestRetriesThatWait holds a daemon in whose store very many events wait for a
// retry against one without: they cost no memory, those that are due come in time,
// and it starts at once. EVENTD_WAITING_EVENTS sets how many, 20,000 when it is
// not set; times and memory are only judged when it is.
func TestRetriesThatWait(t *testing.T) {
	n := sized(t, "EVENTD_WAITING_EVENTS", 20_000)
	due := 200
	if os.Getenv("EVENTD_WAITING_EVENTS") != "" {
		due = 3000
	}
	without := waitingRun(t, 0, due)
	with := waitingRun(t, n, due)
	p99 := usual(with.lateness)
	t.Logf("%d wait: ready after %s (without: %s), %d MiB resident (%d), of them not of files %d (%d); of %d due ones p99 %s late, %d by the metric over 50 ms (without: %s, %d)",
		n, with.ready.Round(time.Millisecond), without.ready.Round(time.Millisecond), with.resident>>20, without.resident>>20,
		with.anonymous>>20, without.anonymous>>20, len(with.lateness), p99.Round(10*time.Microsecond), with.late,
		usual(without.lateness).Round(10*time.Microsecond), without.late)
	for _, late := range with.lateness {
		if late < 0 {
			t.Errorf("a retry came %s early", -late)
		}
	}
	if os.Getenv("EVENTD_WAITING_EVENTS") == "" {
		return
	}
	if with.ready > 2*time.Second {
		t.Errorf("ready after %s; want at most 2s", with.ready)
	}
	if more := with.resident - without.resident; more > 100<<20 {
		t.Errorf("%d MiB more resident; want at most 100", more>>20)
	}
	// On a machine that is too busy for it, those that wait make it no worse.
	if p99 > 50*time.Millisecond && p99 > usual(without.lateness)*6/5 {
		t.Errorf("p99 %s late; want at most 50ms", p99)
	}
}

// usual returns the median of the 99th percentiles of every two seconds: what else
// a machine does now and then says nothing of eventd.
func usual(lateness []time.Duration) time.Duration {
	var list []time.Duration
	for part := range slices.Chunk(lateness, 500) {
		list = append(list, percentile(part, .99))
	}
	return percentile(list, .5)
}

// waitingRun starts a daemon with n events that are due later than the test lasts,
// and some that are due while it does.
func waitingRun(t *testing.T, n, due int) (w waited) {
	a := &arrivals{came: map[string]time.Time{}}
	h := httptest.NewServer(a)
	defer h.Close()
	s := newSite(t, `
service: WAITING
log: {level: warn}
nats: {embedded: {listen: none}}
handlers: {h: {http: "`+h.URL+`"}}
routes: [{message_type: WAITING, handler: h}]
`)
	times := make(map[string]time.Time, due)
	s.fillStore(func(l *ledger) {
		far := time.Now().Add(6 * time.Hour)
		for i := range n {
			l.retry(fmt.Sprint("waiting-", i), "WAITING", "h", far.Add(time.Duration(i)*time.Millisecond))
		}
		first := time.Now().Add(1500*time.Millisecond + time.Duration(n)*2*time.Microsecond).Truncate(time.Microsecond)
		for i := range due {
			at := first.Add(time.Duration(i) * 4 * time.Millisecond)
			times[fmt.Sprint("due-", i)] = at
			l.retry(fmt.Sprint("due-", i), "WAITING", "h", at)
		}
	})
	began := time.Now()
	p := s.start()
	for ok := false; !ok; ok, _ = get(s.url(s.metrics, "/readyz")) {
		if p.over() || time.Since(began) > patience {
			t.Fatalf("eventd does not become ready:\n%s", s.log.tail(20))
		}
	}
	w.ready = time.Since(began)
	for deadline := time.Now().Add(patience + time.Duration(due)*4*time.Millisecond); a.count() < due; <-time.After(50 * time.Millisecond) {
		all, anonymous := p.resident()
		w.resident, w.anonymous = max(w.resident, all), max(w.anonymous, anonymous)
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d came", a.count(), due)
		}
	}
	for i := range due { // in the order in which they were due
		id := fmt.Sprint("due-", i)
		w.lateness = append(w.lateness, a.came[id].Sub(times[id]))
	}
	_, body := get(s.url(s.metrics, "/metrics"))
	w.retries = sample(t, body, `eventd_retry_lateness_seconds_count`)
	w.late = w.retries - sample(t, body, `eventd_retry_lateness_seconds_bucket{le="0.05"}`)
	p.signal(syscall.SIGTERM)
	p.ends(0)
	return w
}

// sample reads a value from what the daemon exposes.
func sample(t *testing.T, body, series string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` ([0-9.e+]+)$`).FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no series %s", series)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}
