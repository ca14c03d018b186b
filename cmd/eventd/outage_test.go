package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// TestNATSOutage: NATS is not there when the daemon starts, and goes away while
// it works. The daemon lives, says why it is not ready, does what it can do
// without NATS, and goes on by itself. EVENTD_OUTAGE sets how long NATS is
// away, a second when it is not set.
func TestNATSOutage(t *testing.T) {
	outage := time.Second
	if text := os.Getenv("EVENTD_OUTAGE"); text != "" {
		var err error
		if outage, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	counted, h := startHandler(t)
	s := newSite(t, `
service: OUTAGE
nats: {url: "nats://NATS", streams: {IN: {subjects: [IN]}, OUT: {subjects: [OUT]}}}
sources: {in: {subject: IN, ack_wait: 2s}}
retry: {default: {backoff: constant, initial: 50ms, max_attempts: unlimited, max_elapsed: unlimited}}
handlers:
  counting: {http: "`+h.URL+`"}
  out: {topic: OUT, timeout: 1s}
routes:
  - {message_type: [LOAD, LOCAL], handler: counting}
  - {message_type: [OUT, FOLLOW], handler: out}
`)
	p := s.start()
	s.up(p)
	s.notReady("NATS")
	published := s.startPublisher("IN", 100)
	s.worksAlone(p, "first")

	server := s.startNATS(nil)
	s.ready()
	s.moves(p, published)

	endNATS(server)
	s.notReady("NATS")
	s.worksAlone(p, "second")
	select { // as long as it takes to find a mistake that grows with time
	case <-time.After(outage):
	case <-p.ended:
		t.Fatal("eventd ended while NATS was away")
	}
	s.notReady("NATS")

	s.startNATS(nil)
	s.ready()
	s.moves(p, published)
	published.end()
	if !s.settled(published) {
		t.Error("not everything comes to an end")
	}
	for _, id := range []string{"out-first", "out-second"} {
		if r := s.row(id); r.Status != "COMPLETED" {
			t.Errorf("%s is %s %s once NATS is back", id, r.Status, r.Reason)
		}
	}
	checkUndisturbed(t, s, published, counted)
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// worksAlone holds that events of the API are handled without NATS, and that
// what must be published waits.
func (s *site) worksAlone(p *process, name string) {
	s.t.Helper()
	for id, messageType := range map[string]string{"local-" + name: "LOCAL", "out-" + name: "OUT"} {
		if _, err := s.client().Send(context.Background(), wire.NewEvent{MessageType: messageType, EventID: id}); err != nil {
			s.t.Fatalf("send %s while NATS is away: %v", id, err)
		}
	}
	if !eventually(func() bool { return s.row("local-"+name).Status == "COMPLETED" }) {
		s.t.Errorf("an event that needs no NATS is %s while NATS is away", s.row("local-"+name).Status)
	}
	if !eventually(func() bool { r := s.row("out-" + name); return r.Status == "RETRY" && r.Reason == "publish" }) {
		r := s.row("out-" + name)
		s.t.Errorf("an event that is to be published is %s %s while NATS is away; want RETRY publish", r.Status, r.Reason)
	}
	if p.over() {
		s.t.Fatal("eventd ended while NATS was away")
	}
}

func (s *site) row(id string) wire.Row {
	s.t.Helper()
	d, err := s.client().Show(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return d.Rows[0]
}

func (s *site) ready() {
	s.t.Helper()
	var last string
	if !eventually(func() bool {
		ok, body := get(s.url(s.metrics, "/readyz"))
		last = body
		return ok
	}) {
		s.t.Fatalf("it does not become ready: %s", last)
	}
}

// notReady waits until the daemon is not ready and says why.
func (s *site) notReady(why string) {
	s.t.Helper()
	var last string
	if !eventually(func() bool {
		ok, body := get(s.url(s.metrics, "/readyz"))
		last = body
		return !ok && strings.HasPrefix(body, "not ready\n") && strings.Contains(body, why)
	}) {
		s.t.Fatalf("it does not say that it is not ready because of %s: %s", why, last)
	}
	if ok, body := get(s.url(s.metrics, "/livez")); !ok {
		s.t.Fatalf("it is not alive: %s", body)
	}
}

// checkUndisturbed holds that an outage of NATS costs nothing and doubles
// nothing: nobody crashed.
func checkUndisturbed(t *testing.T, s *site, published *publisher, counted *executions) {
	t.Helper()
	for _, r := range s.all("inbound") {
		executed, done := counted.of(r.EventID)
		if r.Status != "COMPLETED" || executed != r.Attempts || done != 1 {
			t.Errorf("%s is %s %s with %d attempts, executed %d times, of them %d well",
				r.EventID, r.Status, r.Reason, r.Attempts, executed, done)
		}
	}
	t.Logf("%d events published, %d executions", len(published.acked), counted.total())
}
