package main

import (
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

func TestHandlerState(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, x := range []struct {
		info event.HandlerInfo
		want string
	}{
		{event.HandlerInfo{}, "open"},
		{event.HandlerInfo{HealthProblem: "GET /healthz: 503"}, "open"}, // not often enough yet
		{event.HandlerInfo{Paused: true, PauseReason: "gone", Ramp: 1}, "paused: gone"},
		{event.HandlerInfo{UnhealthySince: now, HealthProblem: "GET /healthz: 503", Ramp: 1}, "unhealthy since 2026-01-02T03:04:05Z: GET /healthz: 503"},
		{event.HandlerInfo{BreakerUntil: now.Add(time.Minute), RestUntil: now.Add(time.Second)},
			"breaker open until 2026-01-02T03:05:05Z; resting until 2026-01-02T03:04:06Z"},
		{event.HandlerInfo{BreakerUntil: now, Ramp: 1}, "breaker: one attempt decides"},
		{event.HandlerInfo{RateLimited: true}, "at its rate limit"},
		{event.HandlerInfo{Ramp: 4}, "beginning gently: 4 at once"},
	} {
		if got := handlerState(&x.info, now); got != x.want {
			t.Errorf("%+v: %q; want %q", x.info, got, x.want)
		}
	}
}
