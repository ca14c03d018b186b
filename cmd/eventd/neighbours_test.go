package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// neighbourhood are ten handlers: seven that are well, one that hangs, one that
// always fails and one that always asks for a rest.
type neighbourhood struct {
	mu   sync.Mutex
	sent map[string]sending
	took map[string][]time.Duration // by round
	bad  int
}

// sending is one event on its way to a handler that is well.
type sending struct {
	round string
	at    time.Time
}

var ill = []string{"hung", "failing", "resting"}

// ServeHTTP implements [http.Handler].
func (n *neighbourhood) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, r.Body) // from then on the server sees the connection end
	if r.URL.Path == "/well" {
		n.mu.Lock()
		defer n.mu.Unlock()
		id := r.Header.Get("webhook-id")
		if x, ok := n.sent[id]; ok {
			n.took[x.round] = append(n.took[x.round], now.Sub(x.at))
			delete(n.sent, id)
		}
		return
	}
	n.mu.Lock()
	n.bad++
	n.mu.Unlock()
	switch r.URL.Path {
	case "/hung":
		<-r.Context().Done()
	case "/failing":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/resting":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func (n *neighbourhood) outstanding() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sent)
}

// of returns how long those of a round took.
func (n *neighbourhood) of(round string) []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.took[round]
}

// requests returns how many came to those that are ill.
func (n *neighbourhood) requests() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bad
}

// round is one measurement: events for the handlers that are well, at a rate for
// each, and beside them for the ill ones or not.
type round struct {
	name  string
	types []string
	lasts time.Duration
}

const neighbourRate = 30 // events a second for each handler

// publish sends the events of a round at an even pace, those of all types in turns:
// sent together they would wait for each other in the NATS server.
func (n *neighbourhood) publish(t *testing.T, js jetstream.JetStream, x round) {
	t.Helper()
	tick := time.NewTicker(time.Second / time.Duration(neighbourRate*len(x.types)))
	defer tick.Stop()
	number := 0
	for began := time.Now(); time.Since(began) < x.lasts; {
		for _, messageType := range x.types {
			<-tick.C
			number++
			id := fmt.Sprintf("%s-%s-%d", x.name, messageType, number)
			m := nats.NewMsg("IN")
			m.Header.Set(nats.MsgIdHdr, id)
			m.Header.Set("Eventd-Message-Type", messageType)
			m.Data = []byte(`{"n": 1}`)
			if messageType[0] == 'w' {
				n.mu.Lock()
				n.sent[id] = sending{x.name, time.Now()}
				n.mu.Unlock()
			}
			if _, err := js.PublishMsgAsync(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !eventually(func() bool { return n.outstanding() == 0 }) {
		t.Fatalf("%d events for handlers that are well do not get there", n.outstanding())
	}
}

// TestNeighbours measures how long events take to handlers that are well, in turn
// without and beside three that are not and have no breaker, in one process. EVENTD_NEIGHBOURS sets how
// many rounds of ten seconds there are; without it there is a short one, of which
// no times are judged. EVENTD_NEIGHBOURS_BACKLOG is how many events are due to the
// handler that hangs when it begins, 2,000 when it is not set.
func TestNeighbours(t *testing.T) {
	rounds, lasts := sized(t, "EVENTD_NEIGHBOURS", 1), 10*time.Second
	if os.Getenv("EVENTD_NEIGHBOURS") == "" {
		lasts = 500 * time.Millisecond
	}
	n := &neighbourhood{sent: map[string]sending{}, took: map[string][]time.Duration{}}
	h := httptest.NewServer(n)
	t.Cleanup(h.Close) // after the daemon has ended, whose requests hang
	config, well, all := neighboursConfig(h.URL)
	s := newSite(t, config)
	s.fillStore(func(l *ledger) {
		for i := range sized(t, "EVENTD_NEIGHBOURS_BACKLOG", 2000) {
			l.retry(fmt.Sprint("backlog-", i), "hung", "hung", time.Now())
		}
	})
	p := s.start()
	s.up(p)
	s.ready()
	conn, err := nats.Connect("nats://127.0.0.1:" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	n.publish(t, js, round{"warm-up", all, lasts})
	var without, with []time.Duration
	for i := range rounds {
		for _, beside := range []bool{i%2 == 1, i%2 == 0} {
			s.pauseIll(!beside)
			x := round{fmt.Sprint("without-", i), well, lasts}
			if beside {
				x.name, x.types = fmt.Sprint("with-", i), all
			}
			n.publish(t, js, round{"settling-" + x.name, x.types, lasts / 4}) // what a pause held back comes first
			n.publish(t, js, x)
			took := n.of(x.name)
			p99 := percentile(took, .99)
			t.Logf("%s: %d events, p50 %s, p99 %s", x.name, len(took), percentile(took, .5).Round(10*time.Microsecond), p99.Round(10*time.Microsecond))
			if beside {
				with = append(with, p99)
			} else {
				without = append(without, p99)
			}
		}
	}
	ratio := float64(percentile(with, .5)) / float64(percentile(without, .5))
	t.Logf("median p99 %s beside the ill ones, %s without: %.2f; %d requests to the ill ones",
		percentile(with, .5).Round(10*time.Microsecond), percentile(without, .5).Round(10*time.Microsecond), ratio, n.requests())
	if os.Getenv("EVENTD_NEIGHBOURS") != "" && ratio > 1.2 {
		t.Errorf("p99 is %.2f times that without them; want at most 1.2", ratio)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// neighboursConfig returns the configuration, with the types of the events for the
// handlers that are well, and for all.
func neighboursConfig(url string) (config string, well, all []string) {
	config = "\nservice: NEIGHBOURS\nlog: {level: error}\nshutdown_timeout: 1s\nnats: {embedded: {listen: \"NATS\"}}\nsources: {in: {subject: IN}}\nhandlers:\n"
	routes := "routes:\n"
	for i := range 7 {
		well = append(well, fmt.Sprint("well-", i))
	}
	all = append(append(all, well...), ill...)
	for _, name := range all {
		path := name
		if name[0] == 'w' {
			path = "well"
		}
		config += fmt.Sprintf("  %s: {http: %q, timeout: 2s}\n", name, url+"/"+path)
		routes += fmt.Sprintf("  - {message_type: %s, handler: %s}\n", name, name)
	}
	return config + routes, well, all
}

// pauseIll pauses or resumes the handlers that are not well, and waits until
// nothing runs to them in the first case.
func (s *site) pauseIll(paused bool) {
	s.t.Helper()
	api := s.client()
	for _, name := range ill {
		turn := api.ResumeHandler
		if paused {
			turn = api.PauseHandler
		}
		if err := turn(context.Background(), name); err != nil {
			s.t.Fatal(err)
		}
	}
	if paused && !eventually(func() bool {
		list, err := api.Handlers(context.Background())
		running := 0
		for _, h := range list {
			if h.Paused {
				running += h.InFlight
			}
		}
		return err == nil && running == 0
	}) {
		s.t.Fatal("attempts to paused handlers do not end")
	}
}
