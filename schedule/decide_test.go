package schedule

import (
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func TestDecide(t *testing.T) {
	const day = "2026-01-31T"
	for _, c := range []struct {
		name      string
		cron      string
		missed    Missed
		seen, now string
		runs      int
		first     string // of them
		after     string // seen afterwards
		skipped   string // "" for none
	}{
		{"nothing is due", "0 * * * *", Once, "09:00:00", "09:59:59", 0, "", "09:00:00", ""},
		{"on time", "0 * * * *", Skip, "09:00:00", "10:00:00", 1, "10:00:00", "10:00:00", ""},
		{"a little late", "0 * * * *", Skip, "09:00:00", "10:01:00", 1, "10:00:00", "10:00:00", ""},
		{"skip: too late", "0 * * * *", Skip, "09:00:00", "10:01:01", 0, "", "10:00:00", "10:00:00"},
		{"skip: the last is in time", "0 * * * *", Skip, "07:00:00", "10:00:30", 1, "10:00:00", "10:00:00", "08:00:00"},
		{"skip: seconds that are in time", "*/20 * * * * *", Skip, "09:00:00", "10:00:10", 3, "09:59:20", "10:00:00", "09:00:20"},
		{"once: one", "0 * * * *", Once, "09:00:00", "10:30:00", 1, "10:00:00", "10:00:00", ""},
		{"once: for all of them", "0 * * * *", Once, "05:00:00", "10:30:00", 1, "10:00:00", "10:00:00", "06:00:00"},
		{"once: all in time", "*/20 * * * * *", Once, "09:59:40", "10:00:20", 2, "10:00:00", "10:00:20", ""},
		{"all", "0 * * * *", All, "05:00:00", "10:30:00", 5, "06:00:00", "10:00:00", ""},
		{"all: the latest hundred", "* * * * *", All, "05:00:00", "10:30:00", 100, "08:51:00", "10:30:00", "05:01:00"},
		{"every second of hours", "* * * * * *", Once, "00:00:00", "23:00:00", 1, "23:00:00", "23:00:00", "00:00:01"},
		{"the clock was set back", "0 * * * *", All, "12:00:00", "10:30:00", 0, "", "12:00:00", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			on := func(clock string) time.Time {
				if clock == "" {
					return time.Time{}
				}
				return at(t, day+clock+"Z")
			}
			now := on(c.now).Add(300 * time.Millisecond)
			d := decide(rule(t, c.cron, "UTC"), c.missed, on(c.seen), now)
			if len(d.runs) != c.runs || c.runs > 0 && !d.runs[0].Equal(on(c.first)) {
				t.Errorf("runs = %v; want %d from %s on", d.runs, c.runs, c.first)
			}
			if !d.seen.Equal(on(c.after)) || !d.skipped.Equal(on(c.skipped)) {
				t.Errorf("seen %s, skipped from %s; want %s and %q", d.seen, d.skipped, c.after, c.skipped)
			}
			if again := decide(rule(t, c.cron, "UTC"), c.missed, d.seen, now); len(again.runs) != 0 || !again.skipped.IsZero() {
				t.Errorf("decided again: %v, skipped from %s; want nothing", again.runs, again.skipped)
			}
		})
	}
}

func TestBegin(t *testing.T) {
	now := at(t, "2026-01-31T10:00:00Z")
	r := rule(t, "0 * * * *", "UTC")
	known := event.Mark{Schedule: "s", Rule: r.String(), Seen: now.Add(-time.Hour), Last: now.Add(-time.Hour), EventID: "e"}
	ahead, far, other := known, known, known
	ahead.Seen = now.Add(23 * time.Hour)
	far.Seen = now.Add(25 * time.Hour)
	other.Rule = rule(t, "0 * * * *", "Asia/Tokyo").String()
	for name, c := range map[string]struct {
		known *event.Mark
		anew  bool
	}{"new": {nil, true}, "known": {&known, false}, "clock set back": {&ahead, false}, "clock far ahead": {&far, true}, "another rule": {&other, true}} {
		m, anew := begin("s", r, c.known, now)
		if anew != c.anew || anew && (!m.Seen.Equal(now) || m.Rule != r.String()) {
			t.Errorf("%s: begin = %+v, %t; want %t, from now", name, m, anew, c.anew)
		}
		if anew && c.known != nil && m.EventID != "e" {
			t.Errorf("%s: the last run is forgotten", name)
		}
	}
}
