package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// TestKillsAndSchedules kills the daemon as soon as it has made the event of a
// run, again and again: there is one event for each second, those of the time in
// between included, and none twice. EVENTD_SCHEDULE_KILLS sets how often.
func TestKillsAndSchedules(t *testing.T) {
	kills := 3
	if text := os.Getenv("EVENTD_SCHEDULE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, `
service: CLOCK
nats: {embedded: {listen: none}}
store: {dedupe_window: 0s}
handlers: {log: {log: {}}}
routes: [{message_type: TICK, handler: log}]
schedules: {tick: {cron: "* * * * * *", message_type: TICK, missed: all}}
`)
	seen := 0
	for range kills {
		p := s.start()
		s.up(p)
		s.await("a run", func(c *client.Client) bool {
			rows := ticks(c)
			more := len(rows) > seen
			seen = len(rows)
			return more
		})
		p.kill()
	}
	p := s.start()
	s.up(p)
	var rows []wire.Row
	s.await("all are handled", func(c *client.Client) bool {
		rows = ticks(c)
		return len(rows) > seen && s.counts(c)["COMPLETED"] == len(rows)
	})
	p.signal(os.Interrupt)
	<-p.ended
	first := rows[0].CreatedDttm.Truncate(time.Second)
	for range 60 {
		if rows[0].EventID == tickID(first) {
			break
		}
		first = first.Add(-time.Second)
	}
	for i, r := range rows {
		if at := first.Add(time.Duration(i) * time.Second); r.EventID != tickID(at) {
			t.Fatalf("event %d of %d is %s, created %s; want that of %s", i, len(rows), r.EventID, r.CreatedDttm, at)
		}
	}
	t.Logf("%d runs over %d kills, each once", len(rows), kills)
}

func tickID(at time.Time) string {
	return event.DeriveID("schedule", "tick", at.UTC().Format(time.RFC3339))
}

// ticks returns the events of the schedule, oldest first; none when the daemon
// cannot be asked.
func ticks(c *client.Client) (rows []wire.Row) {
	q := client.Query{MessageType: "TICK", OldestFirst: true, Limit: 1000}
	for {
		page, err := c.List(context.Background(), q)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return nil
		}
		rows = append(rows, page.Events...)
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return rows
		}
	}
}
