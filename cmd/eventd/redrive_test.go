package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// TestKillInARedrive kills the daemon twice while it redrives many events at a
// rate: it goes on after each start, and redrives each event once.
// EVENTD_REDRIVES sets how many there are.
func TestKillInARedrive(t *testing.T) {
	events := 240
	if text := os.Getenv("EVENTD_REDRIVES"); text != "" {
		var err error
		if events, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var mended atomic.Bool
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !mended.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(h.Close)
	s := newSite(t, `
service: REDRIVE
nats: {embedded: {listen: none}}
retry: {default: {backoff: constant, initial: 50ms, max_attempts: unlimited, max_elapsed: unlimited}}
handlers: {service: {http: "`+h.URL+`"}}
routes: [{message_type: ORDER, handler: service}]
`)
	p := s.start()
	s.up(p)
	s.sendOrders(events)
	s.await("all are refused", func(c *client.Client) bool { return s.counts(c)["ERROR"] == events })
	mended.Store(true)
	answer, err := s.client().StartRedrive(context.Background(), wire.NewRedrive{Rate: "200/s", Reason: "mended"})
	if err != nil {
		t.Fatal(err)
	}
	id := answer.Redrive.ID
	for _, part := range []int{events / 3, 2 * events / 3} {
		s.await("a part is redriven", func(c *client.Client) bool {
			j, err := c.ShowRedrive(context.Background(), id)
			return err == nil && j.Done >= part
		})
		p.kill()
		p = s.start()
		s.up(p)
	}
	s.await("all are handled", func(c *client.Client) bool { return s.counts(c)["COMPLETED"] == events })
	j, err := s.client().ShowRedrive(context.Background(), id)
	if err != nil || j.State != "COMPLETED" || j.Done != events || j.Skipped+j.Failed != 0 {
		t.Errorf("the redrive is %+v, %v; want COMPLETED with all %d done", j, err, events)
	}
	for _, row := range s.all("request") {
		if row.Generation != 1 {
			t.Errorf("%s is of generation %d; want 1", row.EventID, row.Generation)
		}
	}
	s.wantOneRedrive("order-0", fmt.Sprint("order-", events/2), fmt.Sprint("order-", events-1))
}

// sendOrders sends events in a few requests.
func (s *site) sendOrders(n int) {
	s.t.Helper()
	for from := 0; from < n; from += perPage {
		var batch []wire.NewEvent
		for i := from; i < min(n, from+perPage); i++ {
			batch = append(batch, wire.NewEvent{MessageType: "ORDER", EventID: fmt.Sprint("order-", i), Payload: json.RawMessage("{}")})
		}
		body, err := json.Marshal(batch)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := s.client().Post(context.Background(), http.Header{"Content-Type": {"application/json"}}, body); err != nil {
			s.t.Fatal(err)
		}
	}
}

// await waits until something holds of the daemon.
func (s *site) await(what string, holds func(*client.Client) bool) {
	s.t.Helper()
	if c := s.client(); !eventually(func() bool { return holds(c) }) {
		s.t.Fatalf("%s: not so in time", what)
	}
}

// counts returns the number of requests by status.
func (s *site) counts(c *client.Client) map[string]int {
	status, err := c.Status(context.Background())
	if err != nil {
		return nil
	}
	return status.Counts["request"]
}

// wantOneRedrive looks into the timelines of some events.
func (s *site) wantOneRedrive(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		d, err := s.client().Show(context.Background(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		n := 0
		for _, e := range d.Timeline {
			if e.Reason == "redriven" {
				n++
			}
		}
		if n != 1 {
			s.t.Errorf("%s was redriven %d times; want once", id, n)
		}
	}
}
