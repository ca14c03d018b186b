package router

import (
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// middle places a delay in the middle of its jitter.
const middle = 0.5

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	constant = retry.Policy{Backoff: retry.Constant, Initial: 10 * time.Second, MaxAttempts: 3}
	doubling = retry.Policy{Backoff: retry.Exponential, Initial: 10 * time.Second, Factor: 2, MaxAttempts: 10}
	timely   = retry.Policy{Backoff: retry.Constant, Initial: 10 * time.Second, MaxElapsed: time.Minute}
	never    = retry.Policy{Backoff: retry.Constant, Initial: time.Second, MaxAttempts: 1}
)

// inProgress is a delivery in its given attempt, the first of which was so long ago.
func inProgress(attempt, uncharged int, ago time.Duration) event.Delivery {
	return event.Delivery{
		Handler: "h", Route: "r", Status: event.InProgress, Attempts: attempt, Uncharged: uncharged,
		FirstAttempt: noon.Add(-ago), Generation: 2,
	}
}

func TestSettle(t *testing.T) {
	busy := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503), Code: 503}
	limited := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(429), Code: 429, Uncharged: true}
	resting := func(a event.Answer, d time.Duration) event.Answer { a.Rest = d; return a }
	delayed := func(a event.Answer, d time.Duration) event.Answer { a.Delay = d; return a }
	ok := event.Answer{Outcome: event.Done, Code: 200}
	taken := event.Answer{Outcome: event.Taken, Code: 202, Lease: time.Hour}
	no := event.Answer{Outcome: event.Never, Reason: event.Rejected, Code: 400}
	const none = time.Duration(-1)

	for _, c := range []struct {
		name      string
		delivery  event.Delivery
		policy    retry.Policy
		answer    event.Answer
		status    event.Status
		reason    event.Reason
		delay     time.Duration // none: not scheduled
		uncharged int
	}{
		{"done", inProgress(1, 0, 0), constant, ok, event.Completed, "", none, 0},
		{"done at last", inProgress(3, 0, 0), constant, ok, event.Completed, "", none, 0},
		{"rejected", inProgress(1, 0, 0), constant, no, event.Error, event.Rejected, none, 0},
		{"gone", inProgress(1, 0, 0), constant, event.Answer{Outcome: event.Never, Reason: event.Gone, Pause: true}, event.Error, event.Gone, none, 0},
		{"an answer of no outcome", inProgress(1, 0, 0), constant, event.Answer{Reason: event.Network}, event.Error, event.Network, none, 0},

		{"first failure", inProgress(1, 0, 0), constant, busy, event.Retry, "http_503", 10 * time.Second, 0},
		{"second failure", inProgress(2, 0, time.Hour), constant, busy, event.Retry, "http_503", 10 * time.Second, 0},
		{"last failure", inProgress(3, 0, 0), constant, busy, event.Failed, event.Exhausted, none, 0},
		{"more attempts than a reload allows", inProgress(9, 0, 0), constant, busy, event.Failed, event.Exhausted, none, 0},
		{"delays grow", inProgress(3, 0, 0), doubling, busy, event.Retry, "http_503", 40 * time.Second, 0},
		{"no second attempt", inProgress(1, 0, 0), never, busy, event.Failed, event.Exhausted, none, 0},

		{"429 is not charged", inProgress(3, 0, 0), constant, limited, event.Retry, "http_429", 10 * time.Second, 1},
		{"429 at the very first attempt", inProgress(1, 0, 0), never, limited, event.Retry, "http_429", time.Second, 1},
		{"429 again and again", inProgress(50, 49, 0), never, limited, event.Retry, "http_429", time.Second, 50},
		{"429 does not make delays grow", inProgress(4, 2, 0), doubling, limited, event.Retry, "http_429", 10 * time.Second, 3},
		{"charged after 429", inProgress(4, 2, 0), constant, busy, event.Retry, "http_503", 10 * time.Second, 2},
		{"exhausted in spite of 429", inProgress(5, 2, 0), constant, busy, event.Failed, event.Exhausted, none, 2},
		{"429 with Rest", inProgress(3, 0, 0), constant, resting(limited, time.Minute), event.Retry, "http_429", time.Minute, 1},
		{"429 with a Rest that ends before the delay", inProgress(1, 0, 0), constant, resting(limited, time.Second), event.Retry, "http_429", 10 * time.Second, 1},
		{"429 and the time is used up", inProgress(2, 0, 55*time.Second), timely, limited, event.Failed, event.Exhausted, none, 1},
		{"429 with Rest and the time is used up", inProgress(2, 0, 30*time.Second), timely, resting(limited, 31*time.Second), event.Failed, event.Exhausted, none, 1},

		{"Rest longer than the delay", inProgress(1, 0, 0), constant, resting(busy, time.Minute), event.Retry, "http_503", time.Minute, 0},
		{"Rest shorter than the delay", inProgress(1, 0, 0), constant, resting(busy, time.Second), event.Retry, "http_503", 10 * time.Second, 0},
		{"Rest gives no further attempt", inProgress(3, 0, 0), constant, resting(busy, time.Minute), event.Failed, event.Exhausted, none, 0},
		{"Rest to the moment the time is used up", inProgress(1, 0, 30*time.Second), timely, resting(busy, 30*time.Second), event.Retry, "http_503", 30 * time.Second, 0},
		{"Rest beyond the time", inProgress(1, 0, 30*time.Second), timely, resting(busy, 31*time.Second), event.Failed, event.Exhausted, none, 0},

		{"Delay longer than the delay", inProgress(1, 0, 0), constant, delayed(busy, time.Minute), event.Retry, "http_503", time.Minute, 0},
		{"Delay and Rest", inProgress(1, 0, 0), constant, delayed(resting(busy, time.Hour), time.Minute), event.Retry, "http_503", time.Hour, 0},
		{"Delay of what is done", inProgress(1, 0, 0), constant, delayed(ok, time.Minute), event.Completed, "", none, 0},

		{"taken over", inProgress(1, 0, 0), constant, taken, event.InProgress, "", time.Hour, 0},
		{"taken over in the last attempt", inProgress(3, 1, time.Hour), timely, taken, event.InProgress, "", time.Hour, 1},

		{"time left to the moment", inProgress(9, 0, 50*time.Second), timely, busy, event.Retry, "http_503", 10 * time.Second, 0},
		{"time used up", inProgress(2, 0, 50*time.Second+time.Microsecond), timely, busy, event.Failed, event.Exhausted, none, 0},
		{"a clock set back", inProgress(2, 0, -time.Hour), timely, busy, event.Retry, "http_503", 10 * time.Second, 0},
	} {
		c.answer.Detail, c.answer.Took = "words", 7*time.Millisecond
		before := c.delivery
		d, e := settle(c.delivery, c.policy, &c.answer, noon, middle)
		if d.Status != c.status || d.Reason != c.reason || d.Uncharged != c.uncharged {
			t.Errorf("%s: settled as %s %q, %d uncharged; want %s %q, %d", c.name, d.Status, d.Reason, d.Uncharged, c.status, c.reason, c.uncharged)
		}
		if want := noon.Add(c.delay); c.delay == none && !d.NextAttempt.IsZero() || c.delay != none && !d.NextAttempt.Equal(want) {
			t.Errorf("%s: next attempt after %s; want %s", c.name, d.NextAttempt.Sub(noon), c.delay)
		}
		if d.Attempts != before.Attempts || d.Generation != before.Generation || d.FirstAttempt != before.FirstAttempt || d.Handler != "h" || d.Route != "r" {
			t.Errorf("%s: settled as %+v; want what was counted to stay", c.name, d)
		}
		if e.At != noon || e.Status != d.Status || e.Reason != d.Reason || e.Attempt != before.Attempts ||
			e.Handler != "h" || e.Code != c.answer.Code || e.Duration != 7*time.Millisecond || !strings.Contains(e.Detail, "words") {
			t.Errorf("%s: entry %+v does not say what became of %+v", c.name, e, d)
		}
	}
}

func TestSettleWithinJitter(t *testing.T) {
	p := retry.Policy{Backoff: retry.Constant, Initial: 10 * time.Second, Jitter: 0.2}
	a := event.Answer{Outcome: event.Again, Reason: event.Timeout}
	for chance, want := range map[float64]time.Duration{0: 8 * time.Second, 0.5: 10 * time.Second, 0.75: 11 * time.Second} {
		if d, _ := settle(inProgress(1, 0, 0), p, &a, noon, chance); d.NextAttempt != noon.Add(want) {
			t.Errorf("chance %v: next attempt after %s; want %s", chance, d.NextAttempt.Sub(noon), want)
		}
	}
}

func TestExhaustedKeepsTheLastAnswer(t *testing.T) {
	a := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(500), Detail: "out of order"}
	if _, e := settle(inProgress(1, 0, 0), never, &a, noon, middle); e.Detail != "last answer: http_500: out of order" {
		t.Errorf("detail = %q", e.Detail)
	}
	a.Detail = ""
	if _, e := settle(inProgress(1, 0, 0), never, &a, noon, middle); e.Detail != "last answer: http_500" {
		t.Errorf("detail = %q", e.Detail)
	}
	a.Detail = strings.Repeat("x", event.MaxDetail)
	if _, e := settle(inProgress(1, 0, 0), never, &a, noon, middle); len(e.Detail) != event.MaxDetail {
		t.Errorf("detail of %d bytes; want %d", len(e.Detail), event.MaxDetail)
	}
}

func TestDueTimeIsNeverEarly(t *testing.T) {
	for delay, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Microsecond, 999: time.Microsecond, 1000: time.Microsecond, 1001: 2 * time.Microsecond,
	} {
		if got := dueTime(noon, delay); got != noon.Add(want) {
			t.Errorf("dueTime(%d ns) = +%s; want +%s", delay, got.Sub(noon), want)
		}
	}
}

func TestBegin(t *testing.T) {
	d := event.Delivery{Handler: "h", Route: "r", Status: event.Retry, Reason: event.Timeout, Attempts: 2,
		Uncharged: 1, Interruptions: 2, Generation: 1, FirstAttempt: noon.Add(-time.Hour), NextAttempt: noon}
	got, e := begin(d, noon)
	want := d
	want.Status, want.Reason, want.Attempts, want.NextAttempt = event.InProgress, "", 3, time.Time{}
	if got != want {
		t.Errorf("begin = %+v; want %+v", got, want)
	}
	if want := (event.Entry{At: noon, Status: event.InProgress, Attempt: 3, Handler: "h"}); e != want {
		t.Errorf("entry = %+v; want %+v", e, want)
	}
	if first, _ := begin(event.Delivery{Status: event.Unprocessed}, noon); first.FirstAttempt != noon || first.Attempts != 1 {
		t.Errorf("the first attempt is %+v; want it to start the clock of max_elapsed", first)
	}
}

// TestInterrupted follows deliveries through crashes and answers.
func TestInterrupted(t *testing.T) {
	patient := retry.Policy{Backoff: retry.Constant, Initial: time.Second}
	busy := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(503)}
	stopped := event.Answer{Outcome: event.Again, Reason: event.Interrupted}
	limited := event.Answer{Outcome: event.Again, Reason: event.HTTPStatus(429), Uncharged: true}
	crash := (*event.Answer)(nil)
	for _, c := range []struct {
		name   string
		policy retry.Policy
		ends   []*event.Answer // of one attempt after the other
		status event.Status
		reason event.Reason
		counts int // crashes in a row
	}{
		{"one crash", patient, []*event.Answer{crash}, event.Retry, event.Interrupted, 1},
		{"two crashes", patient, []*event.Answer{crash, crash}, event.Retry, event.Interrupted, 2},
		{"three crashes", patient, []*event.Answer{crash, crash, crash}, event.Failed, event.Poison, 3},
		{"an answer in between", patient, []*event.Answer{crash, crash, &busy, crash, crash}, event.Retry, event.Interrupted, 2},
		{"a 429 is an answer", patient, []*event.Answer{crash, crash, &limited, crash}, event.Retry, event.Interrupted, 1},
		{"three crashes after an answer", patient, []*event.Answer{crash, &busy, crash, crash, crash}, event.Failed, event.Poison, 3},
		{"a stop is neither crash nor answer", patient, []*event.Answer{crash, crash, &stopped}, event.Retry, event.Interrupted, 2},
		{"a stop in between", patient, []*event.Answer{crash, crash, &stopped, crash}, event.Failed, event.Poison, 3},
		{"crashes are charged", never, []*event.Answer{crash}, event.Failed, event.Exhausted, 1},
		{"poison stands above exhausted", retry.Policy{MaxAttempts: 3}, []*event.Answer{crash, crash, crash}, event.Failed, event.Poison, 3},
		{"one stop of a single attempt", never, []*event.Answer{&stopped}, event.Failed, event.Exhausted, 0},
	} {
		d, at := event.Delivery{Handler: "h", Status: event.Unprocessed}, noon
		var e event.Entry
		for _, end := range c.ends {
			at = at.Add(time.Second)
			d, _ = begin(d, at)
			if end == nil {
				d, e = interrupted(d, c.policy, at, middle)
			} else {
				d, e = settle(d, c.policy, end, at, middle)
			}
		}
		if d.Status != c.status || d.Reason != c.reason || d.Interruptions != c.counts || d.Attempts != len(c.ends) {
			t.Errorf("%s: %s %s, %d crashes in a row, %d attempts; want %s %s, %d, %d", c.name,
				d.Status, d.Reason, d.Interruptions, d.Attempts, c.status, c.reason, c.counts, len(c.ends))
		}
		if e.Status != d.Status || e.Reason != d.Reason || e.Attempt != d.Attempts || e.Detail == "" && c.ends[len(c.ends)-1] == nil {
			t.Errorf("%s: entry %+v does not say what became of it", c.name, e)
		}
		if final := d.Status.Final(); final != d.NextAttempt.IsZero() {
			t.Errorf("%s: %s with next attempt %s", c.name, d.Status, d.NextAttempt)
		}
	}
}

func TestParkAndRevive(t *testing.T) {
	d := event.Delivery{Handler: "h", Route: "r", Status: event.Retry, Reason: event.Timeout, Attempts: 4, Uncharged: 1,
		Interruptions: 1, Generation: 1, FirstAttempt: noon.Add(-time.Hour), NextAttempt: noon.Add(time.Hour)}
	parked, e := park(d, event.Error, event.NoRoute, "why", noon)
	want := d
	want.Status, want.Reason, want.NextAttempt = event.Error, event.NoRoute, time.Time{}
	if parked != want {
		t.Errorf("park = %+v; want %+v", parked, want)
	}
	if want := (event.Entry{At: noon, Status: event.Error, Handler: "h", Reason: event.NoRoute, Detail: "why"}); e != want {
		t.Errorf("entry of park = %+v; want %+v", e, want)
	}
	revived, e := revive(parked, "please", noon)
	if want := (event.Delivery{Handler: "h", Route: "r", Status: event.Unprocessed, Generation: 2, NextAttempt: noon}); revived != want {
		t.Errorf("revive = %+v; want a new budget: %+v", revived, want)
	}
	if want := (event.Entry{At: noon, Status: event.Unprocessed, Handler: "h", Reason: event.Redriven, Detail: "please"}); e != want {
		t.Errorf("entry of revive = %+v; want %+v", e, want)
	}
}
