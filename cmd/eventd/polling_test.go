package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

const pollingConfig = `
service: POLLING
log: {level: warn}
nats: {embedded: {listen: NATS}}
retry: {default: {backoff: constant, initial: 20ms, max_attempts: unlimited, max_elapsed: unlimited}}
handlers:
  worker: {poll: {lease: 3s, nats: true}}
  done: {log: {}}
routes:
  - {message_type: JOB, handler: worker}
  - {message_type: DONE, handler: done}
`

// sizeOf reads how large a test is to be.
func sizeOf(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number", variable, text)
	}
	return n
}

// TestPolling has eight claimers, four of them over NATS, work on
// EVENTD_POLLING_EVENTS events (1000 when it is not set). Claimers vanish by
// chance with what they have claimed, and the daemon is killed with SIGKILL in
// between. None is lost, none is with two at a time, and every timeline tells it.
func TestPolling(t *testing.T) {
	events := sizeOf(t, "EVENTD_POLLING_EVENTS", 1000)
	s := newSite(t, pollingConfig)
	p := s.start()
	s.up(p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, began := newClaimers(s), time.Now()
	end := c.work(ctx, 8)
	defer end()
	var sending sync.WaitGroup
	sending.Go(func() { s.sendJobs(ctx, events) })
	defer sending.Wait()
	defer cancel()
	s.progress(p, events/2)
	p.kill()
	p = s.start()
	s.up(p)
	s.progress(p, events+withFollowUp(events))
	took := time.Since(began)
	end()
	sending.Wait()
	attempts, endings := c.check(events)
	t.Logf("%d events with %d attempts in %s; %d claimers vanished with %d events, 1 kill of the daemon; %d completions were too late; attempts ended as %v",
		events, attempts, took.Round(time.Millisecond), c.vanished, c.left, c.late, endings)
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

func jobID(n int) string { return fmt.Sprint("job-", n) }

// withFollowUp returns how many of so many jobs have a follow-up event.
func withFollowUp(events int) (n int) {
	for i := range events {
		n += len(followUps(jobID(i)))
	}
	return n
}

// sendJobs hands events in until all are stored. What it does not know to be
// stored it sends again: they are recognised.
func (s *site) sendJobs(ctx context.Context, events int) {
	c := s.client()
	for first := 0; first < events && ctx.Err() == nil; {
		var batch []wire.NewEvent
		for i := first; i < min(first+100, events); i++ {
			batch = append(batch, wire.NewEvent{MessageType: "JOB", EventID: jobID(i), Payload: json.RawMessage(`{"n":1}`)})
		}
		body, err := json.Marshal(batch)
		if err != nil {
			s.t.Error(err)
		}
		if _, err = c.Post(ctx, http.Header{"Content-Type": {"application/json"}}, body); err == nil {
			first += len(batch)
			continue
		}
		if !interruptible(err) {
			s.t.Errorf("send: %v", err)
		}
		pause(ctx)
	}
}

// progress waits until so many events, follow-ups among them, are COMPLETED. It
// ends the test when that does not go on for long.
func (s *site) progress(p *process, want int) {
	s.t.Helper()
	for done := 0; done < want; {
		last := done
		if !eventually(func() bool { done = s.completed(); return done > last || p.over() }) || p.over() {
			s.t.Fatalf("nothing goes on: %d events are COMPLETED; want %d", last, want)
		}
	}
}

// completed asks how many events are COMPLETED; -1 when it is not answered.
func (s *site) completed() int {
	status, err := s.client().Status(context.Background())
	if err != nil {
		return -1
	}
	return status.Counts["request"]["COMPLETED"]
}

// check holds the timelines of all events against what the claimers know.
func (c *claimers) check(events int) (attempts int, endings map[string]int) {
	c.t.Helper()
	endings = map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	var next atomic.Int64
	for range 4 {
		api := c.site.client()
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < events; i = int(next.Add(1)) - 1 {
				d, err := api.Show(context.Background(), jobID(i))
				if err != nil || len(d.Rows) != 1 || d.Rows[0].Status != "COMPLETED" {
					c.t.Errorf("%s: %v, %+v; want one row, COMPLETED", jobID(i), err, d.Rows)
					continue
				}
				mu.Lock()
				attempts += c.checkTimeline(&d, endings)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range c.completed {
		if n > 1 {
			c.t.Errorf("%s was completed %d times", id, n)
		}
	}
	return attempts, endings
}

// checkTimeline fails where an attempt begins before the one before it has ended,
// where one has no end, or where a lease ends before its time. It returns how many
// attempts began, and counts how they ended.
func (c *claimers) checkTimeline(d *wire.Detail, endings map[string]int) (began int) {
	id, running, charged := d.Rows[0].EventID, 0, 0
	var since time.Time
	for _, e := range d.Timeline {
		switch {
		case e.Attempt == 0: // a note: it was sent again
		case e.Status == event.InProgress.String():
			if running != 0 {
				c.t.Errorf("%s: attempt %d begins while attempt %d is not over", id, e.Attempt, running)
			}
			running, since = e.Attempt, e.At.Time
			began++
		default:
			if e.Attempt != running {
				c.t.Errorf("%s: attempt %d ends as %s while attempt %d runs", id, e.Attempt, e.Status, running)
			}
			if e.Reason == string(event.ClaimExpired) && e.At.Sub(since) < 3*time.Second {
				c.t.Errorf("%s: a lease of 3s ends after %s", id, e.At.Sub(since))
			}
			if e.Status != event.Unprocessed.String() {
				charged++
			}
			endings[e.Status+" "+e.Reason]++
			running = 0
		}
	}
	if running != 0 || charged != d.Rows[0].Attempts {
		c.t.Errorf("%s: attempt %d has no end; %d are on record and %d in the timeline", id, running, d.Rows[0].Attempts, charged)
	}
	return began
}

// TestWakeUp measures how long after an event was handed in a claimer that waits
// has it: EVENTD_WAKEUPS times (30 when it is not set), over HTTP and over NATS.
// It asserts nothing about the times.
func TestWakeUp(t *testing.T) {
	n := sizeOf(t, "EVENTD_WAKEUPS", 30)
	s := newSite(t, pollingConfig)
	p := s.start()
	s.up(p)
	nc, err := nats.Connect("nats://127.0.0.1:" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for name, c := range map[string]*client.Client{"HTTP": s.client(), "NATS": natsClient(nc, "POLLING")} {
		if !eventually(func() bool { // claims over NATS are offered a little later than eventd lives
			_, err := c.Claim(context.Background(), "worker", wire.Claim{})
			return err == nil
		}) {
			t.Fatalf("%s: nothing can be claimed", name)
		}
		handedIn, stored := s.wakeUps(c, name, n)
		t.Logf("%s, %d times: from the request that hands it in p50 %s, p99 %s, max %s; from the answer to that p50 %s, p99 %s, max %s",
			name, n, at(handedIn, 0.5), at(handedIn, 0.99), at(handedIn, 1), at(stored, 0.5), at(stored, 0.99), at(stored, 1))
	}
}

// wakeUps has one claimer wait for one event at a time. It returns how long it
// took since the request that handed the event in, and since the answer to it.
func (s *site) wakeUps(c *client.Client, name string, n int) (handedIn, stored []time.Duration) {
	s.t.Helper()
	sender, got := s.client(), make(chan time.Time)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		go func() {
			list, err := c.Claim(context.Background(), "worker", wire.Claim{Wait: "10s"})
			now := time.Now()
			if err != nil || len(list) != 1 {
				s.t.Errorf("claimed %d, %v; want one", len(list), err)
			} else if err := c.Complete(context.Background(), list[0].ClaimID); err != nil {
				s.t.Error(err)
			}
			got <- now
		}()
		<-tick.C // light load, and time for the claimer to get to where it waits
		began := time.Now()
		if _, err := sender.Send(context.Background(), wire.NewEvent{MessageType: "JOB", EventID: fmt.Sprint(name, "-", i)}); err != nil {
			s.t.Error(err)
		}
		answered := time.Now()
		at := <-got
		handedIn, stored = append(handedIn, at.Sub(began)), append(stored, at.Sub(answered))
	}
	slices.Sort(handedIn)
	slices.Sort(stored)
	return handedIn, stored
}

// at returns a quantile of what is sorted.
func at(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(10 * time.Microsecond)
}
