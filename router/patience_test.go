package router

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventd-io/eventd/event"
)

// TestPatienceOfOutcomes: 64 slots, of a handler that finishes so many attempts in a
// tenth of a second.
func TestPatienceOfOutcomes(t *testing.T) {
	synctest.Test(t, testPatienceOfOutcomes) // in which no window of the flow ends
}

func testPatienceOfOutcomes(t *testing.T) {
	for _, c := range []struct {
		about                string
		rate, running, ahead int
		backlog, slow        bool
		followUps, stopping  bool
		want                 time.Duration
	}{
		{about: "most slots are free", rate: 10, running: 16, want: settlePatience},
		{about: "slots are needed", rate: 10, running: 17},
		{about: "slots are needed, but attempts take long", rate: 10, running: 64, slow: true, want: settlePatience},
		{about: "something is due", rate: 10, running: 1, backlog: true},
		{about: "follow-ups are on their way", rate: 10, running: 1, followUps: true},
		{about: "half of what may be counted is free", rate: 1000, running: 64, ahead: 124, want: settlePatience},
		{about: "more slots than half, none is fed", rate: 100, running: 64, ahead: 12, backlog: true},
		{about: "fed", rate: 1000, running: 64, ahead: 900, want: settlePatience},
		{about: "fed while more is due", rate: 1000, running: 64, ahead: 125, backlog: true, want: settlePatience},
		{about: "hardly fed while more is due", rate: 1000, running: 64, ahead: 124, backlog: true},
		{about: "fed, with follow-ups", rate: 1000, running: 64, ahead: 125, followUps: true, want: settlePatience},
		{about: "fed in the end", rate: 1000, running: 64, ahead: 900, stopping: true},
	} {
		r := &Router{quit: make(chan struct{})}
		if c.stopping {
			close(r.quit)
		}
		d := &dispatcher{
			router: r, handler: &Handler{Concurrency: 64}, running: c.running, ahead: make([]*task, c.ahead),
			backlog: c.backlog, lastSlow: c.slow,
		}
		d.flow.turn(time.Now())
		d.flow.now = c.rate
		o := &outcome{}
		if c.followUps {
			o.answer.FollowUps = make([]event.Message, 1)
		}
		if got := d.patience([]*outcome{{}, o}); got != c.want {
			t.Errorf("%s: may wait %s, want %s", c.about, got, c.want)
		}
	}
}
