package router

import (
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// settle decides what an answer makes of a delivery that is IN_PROGRESS: its
// next state and the entry in the timeline. chance, in [0,1), places the delay
// within the policy's jitter.
func settle(d event.Delivery, p retry.Policy, a *event.Answer, now time.Time, chance float64) (event.Delivery, event.Entry) {
	if a.Reason != event.Interrupted { // which is no answer of the handler
		d.Interruptions = 0
	}
	d.NextAttempt = time.Time{}
	e := event.Entry{
		At: now, Attempt: d.Attempts, Handler: d.Handler,
		Detail: a.Detail, Code: a.Code, Duration: a.Took,
	}
	switch a.Outcome {
	case event.Done:
		d.Status, d.Reason = event.Completed, ""
	case event.Taken:
		d.NextAttempt = dueTime(now, a.Lease)
		e.Detail = takenDetail(a, d.NextAttempt)
	case event.Again:
		if a.Uncharged {
			d.Uncharged++
		}
		d = again(d, p, a, now, chance)
	default:
		d.Status, d.Reason = event.Error, a.Reason
	}
	e.Status, e.Reason = d.Status, d.Reason
	if d.Reason == event.Exhausted {
		e.Detail = exhaustedDetail(a)
	}
	return d, e
}

// again schedules the next attempt, or gives up.
func again(d event.Delivery, p retry.Policy, a *event.Answer, now time.Time, chance float64) event.Delivery {
	elapsed := now.Sub(d.FirstAttempt)
	delay, ok := p.Next(d.Attempts-d.Uncharged, elapsed, chance)
	if wanted := max(a.Rest, a.Delay); delay < wanted {
		delay = wanted
		ok = ok && (p.MaxElapsed == 0 || elapsed <= p.MaxElapsed-delay)
	}
	if !ok {
		d.Status, d.Reason = event.Failed, event.Exhausted
		return d
	}
	d.Status, d.Reason = event.Retry, a.Reason
	d.NextAttempt = dueTime(now, delay)
	return d
}

// dueTime is rounded up to what the store keeps, so that a retry is never early.
func dueTime(now time.Time, delay time.Duration) time.Time {
	return now.Add(delay + time.Microsecond - 1).Truncate(time.Microsecond)
}

// exhaustedDetail keeps the last answer, whose reason the word exhausted hides.
func exhaustedDetail(a *event.Answer) string {
	detail := "last answer: " + string(a.Reason)
	if a.Detail != "" {
		detail += ": " + a.Detail
	}
	return detail[:min(len(detail), event.MaxDetail)]
}

// takenDetail says until when the handler has an event.
func takenDetail(a *event.Answer, until time.Time) string {
	detail := "taken over until " + until.Format(time.RFC3339)
	if a.Detail != "" {
		detail += ": " + a.Detail
	}
	return detail[:min(len(detail), event.MaxDetail)]
}

// begin makes an attempt of a delivery that is due.
func begin(d event.Delivery, now time.Time) (event.Delivery, event.Entry) {
	d.Status, d.Reason = event.InProgress, ""
	d.Attempts++
	if d.FirstAttempt.IsZero() {
		d.FirstAttempt = now
	}
	d.NextAttempt = time.Time{}
	return d, event.Entry{At: now, Status: event.InProgress, Attempt: d.Attempts, Handler: d.Handler}
}

// interrupted decides what becomes of a delivery that was IN_PROGRESS when
// eventd ended without settling it.
func interrupted(d event.Delivery, p retry.Policy, now time.Time, chance float64) (event.Delivery, event.Entry) {
	n := d.Interruptions + 1
	answer := event.Answer{Outcome: event.Again, Reason: event.Interrupted, Detail: "eventd ended while the attempt ran"}
	d, e := settle(d, p, &answer, now, chance)
	d.Interruptions = n
	if n >= event.PoisonAfter {
		d.Status, d.Reason, d.NextAttempt = event.Failed, event.Poison, time.Time{}
		e.Status, e.Reason = d.Status, d.Reason
		e.Detail = "in flight in three crashes in a row"
	}
	return d, e
}

// released takes back a claim as if it had not been made. The attempt of one that
// was pushed stays on record, as it was executed: another has another number.
func released(d event.Delivery, by string, pulled bool, now time.Time) (event.Delivery, event.Entry) {
	e := event.Entry{
		At: now, Status: event.Unprocessed, Attempt: d.Attempts, Handler: d.Handler,
		Detail: "released by " + by + " and not counted",
	}
	if pulled {
		d.Attempts--
	} else {
		d.Uncharged++
	}
	if d.Attempts == d.Uncharged {
		d.FirstAttempt = time.Time{}
	}
	d.Status, d.Reason, d.NextAttempt = event.Unprocessed, "", now
	return d, e
}

// park ends a delivery, or one that never began, without an attempt.
func park(d event.Delivery, s event.Status, r event.Reason, detail string, now time.Time) (event.Delivery, event.Entry) {
	d.Status, d.Reason, d.NextAttempt = s, r, time.Time{}
	return d, event.Entry{At: now, Status: s, Handler: d.Handler, Reason: r, Detail: detail}
}

// revive makes a delivery due again with a new budget.
func revive(d event.Delivery, detail string, now time.Time) (event.Delivery, event.Entry) {
	d = event.Delivery{
		Handler: d.Handler, Route: d.Route, Generation: d.Generation + 1,
		Status: event.Unprocessed, NextAttempt: now, OrderKey: d.OrderKey, OnFailure: d.OnFailure,
	}
	return d, event.Entry{At: now, Status: event.Unprocessed, Handler: d.Handler, Reason: event.Redriven, Detail: detail}
}
