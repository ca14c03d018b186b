package main

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

const crashConfig = `
service: CRASH
log: {level: warn}
shutdown_timeout: 5s
sources: {in: {subject: IN, ack_wait: 2s}}
retry: {default: {backoff: constant, initial: 30ms, max_attempts: unlimited, max_elapsed: unlimited}}
routes:
  - {message_type: LOAD, handler: counting}
  - {message_type: FOLLOW, handler: out}
`

// TestKill kills the daemon with SIGKILL again and again while it works, and
// holds it to its promise: what the NATS server has acknowledged is handled in
// the end, and nothing is executed that is not on record. EVENTD_CRASH_ROUNDS
// sets how often it is killed, 3 times when it is not set.
func TestKill(t *testing.T) {
	rounds := crashRounds(t, 3)
	for name, external := range map[string]bool{"embedded": false, "external": true} {
		t.Run(name, func(t *testing.T) {
			counted, h := startHandler(t)
			crash(t, rounds, external, counted, `{http: "`+h.URL+`", concurrency: 16, timeout: 5s}`)
		})
	}
}

// crashRounds returns how often to kill, so many times unless the environment
// says otherwise.
func crashRounds(t *testing.T, rounds int) int {
	t.Helper()
	if text := os.Getenv("EVENTD_CRASH_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("EVENTD_CRASH_ROUNDS=%s is no number of rounds", text)
		}
		rounds = n
	}
	return rounds
}

// crash kills a daemon with the given handler, which counts what it executes.
func crash(t *testing.T, rounds int, external bool, counted *executions, handler string) {
	server := "\nnats: {embedded: {listen: NATS}}\n"
	if external {
		server = "\nnats: {url: \"nats://NATS\", streams: {IN: {subjects: [IN]}, OUT: {subjects: [OUT]}}}\n"
	}
	s := newSite(t, crashConfig+server+`
handlers:
  counting: `+handler+`
  out: {topic: OUT}
`)
	if external {
		s.startNATS(nil)
	}
	counted.claims = s.client()
	p := s.start()
	s.up(p)
	published := s.startPublisher("IN", 1000)
	running := 0
	for range rounds {
		s.moves(p, published)
		select { // a random moment, wherever the work stands then
		case <-time.After(rand.N(700 * time.Millisecond)):
		case <-p.ended:
			t.Fatal("eventd ended by itself")
		}
		running += counted.inFlight()
		p.kill()
		p = s.start()
		s.up(p)
	}
	s.moves(p, published)
	published.end()
	if !s.settled(published) {
		t.Error("not everything comes to an end")
	}
	checkRecords(t, s, published, counted, rounds)
	checkFollowUps(t, s)
	t.Logf("killed %d times: %d events, %d executions; %d ran at the handler when it was killed",
		rounds, len(published.acked), counted.total(), running)
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// moves waits until events go through: more are published, and more are handled.
func (s *site) moves(p *process, published *publisher) {
	s.t.Helper()
	sent, ended := published.count(), s.ended()
	if !eventually(func() bool {
		return p.over() || published.count() > sent+20 && s.ended() > ended
	}) || p.over() {
		s.t.Fatalf("nothing goes through: %d published, %d ended", published.count(), s.ended())
	}
}

// ended returns how many events have ended, 0 while the daemon does not answer.
func (s *site) ended() (n int) {
	s.t.Helper()
	status, err := s.client().Status(context.Background())
	if err != nil {
		if !interruptible(err) {
			s.t.Fatal(err)
		}
		return 0
	}
	for _, byStatus := range status.Counts {
		for _, count := range byStatus {
			n += count
		}
	}
	return n - open(status)
}

// settled waits until all that was acknowledged is there and everything has
// ended. What was on its way to the daemon when it was killed comes again after
// ack_wait. It reports whether it came to that.
func (s *site) settled(published *publisher) bool {
	s.t.Helper()
	return eventually(func() bool {
		stored := map[string]bool{}
		for _, r := range s.all("inbound") {
			stored[r.EventID] = true
		}
		for id := range published.acked {
			if !stored[id] {
				return false
			}
		}
		// Asked last: what comes again after ack_wait begins when it is stored.
		status, err := s.client().Status(context.Background())
		return err == nil && open(status) == 0 && status.Store.Outbox == 0
	})
}

// checkRecords holds what is on record against what was published and what was
// executed.
func checkRecords(t *testing.T, s *site, published *publisher, counted *executions, kills int) {
	t.Helper()
	rows := s.all("inbound")
	byID := make(map[string]wire.Row, len(rows))
	for _, r := range rows {
		if !published.started[r.EventID] {
			t.Errorf("%s was never published", r.EventID)
		}
		if _, twice := byID[r.EventID]; twice {
			t.Errorf("%s is stored twice", r.EventID)
		}
		byID[r.EventID] = r
	}
	extra, interrupted := 0, 0
	for id := range published.acked {
		r, stored := byID[id]
		if !stored {
			t.Errorf("%s was acknowledged by the server and is lost", id)
			continue
		}
		more, cut := checkExecutions(t, s, r, counted)
		extra, interrupted = extra+more, interrupted+cut
	}
	if extra > interrupted {
		t.Errorf("%d extra executions; only %d attempts were in flight when it was killed", extra, interrupted)
	}
	t.Logf("%d attempts were in flight in %d kills, %d events were executed once more than needed", interrupted, kills, extra)
}

// checkExecutions checks one event. It returns how many executions it had
// beyond those that were answered 503 and the last, and how many attempts are
// on record as interrupted.
func checkExecutions(t *testing.T, s *site, r wire.Row, counted *executions) (extra, interrupted int) {
	t.Helper()
	id := r.EventID
	executed, done := counted.of(id)
	if !poisoned(r) && (r.Status != "COMPLETED" || done == 0) {
		t.Errorf("%s is %s %s, executed %d times, of them %d well", id, r.Status, r.Reason, executed, done)
	}
	if executed > r.Attempts {
		t.Errorf("%s was executed %d times; %d attempts are on record", id, executed, r.Attempts)
	}
	if r.Attempts == 1 {
		return 0, 0
	}
	d, err := s.client().Show(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	retries := 0
	for _, e := range d.Timeline {
		switch {
		case e.Attempt == 0: // a note: it came again
		case e.Reason == "interrupted" || e.Reason == "poison":
			interrupted++
		case e.Status == "RETRY":
			retries++
		}
	}
	last := 1 // the attempt that went well
	if poisoned(r) {
		t.Logf("%s is %s after %d interruptions", id, r.Reason, interrupted)
		last = 0
	}
	if r.Attempts != interrupted+retries+last || poisoned(r) && interrupted < event.PoisonAfter {
		t.Errorf("%s has %d attempts; %d retries and %d interruptions are on record", id, r.Attempts, retries, interrupted)
	}
	return max(0, executed-1-retries), interrupted
}

// poisoned reports whether an event was given up because it was in flight in
// three crashes in a row. That is rare here, and no mistake.
func poisoned(r wire.Row) bool { return r.Status == "FAILED" && r.Reason == string(event.Poison) }

// checkFollowUps holds that each event has its one follow-up, however often it
// was executed, and that each of those went out.
func checkFollowUps(t *testing.T, s *site) {
	t.Helper()
	followed := map[string]int{}
	sent, attempts := 0, 0
	for _, r := range s.all("request") {
		followed[r.CausationID]++
		attempts += r.Attempts
		switch {
		case r.Status == "COMPLETED":
			sent++
		case !poisoned(r):
			t.Errorf("the follow-up of %s is %s %s", r.CausationID, r.Status, r.Reason)
		}
	}
	for _, r := range s.all("inbound") {
		if followed[r.EventID] != 1 && !poisoned(r) {
			t.Errorf("%s has %d follow-ups; want 1", r.EventID, followed[r.EventID])
		}
	}
	if out := s.messages("OUT"); out < sent || out > attempts {
		t.Errorf("%d messages went out for %d follow-ups with %d attempts", out, sent, attempts)
	}
}

// messages returns how many messages a stream has.
func (s *site) messages(stream string) int {
	s.t.Helper()
	conn, err := nats.Connect("nats://127.0.0.1:" + s.nats)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := js.Stream(context.Background(), stream)
	if err != nil {
		s.t.Fatal(err)
	}
	return int(out.CachedInfo().State.Msgs)
}
