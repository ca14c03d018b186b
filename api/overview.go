package api

import (
	"context"
	"net/http"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func (s *service) registerOverview() {
	register(s, call{method: http.MethodGet, path: "/v1/status", id: "status", tag: "status",
		summary: "How eventd stands", text: "Counts by table and status, handlers, sources, the store, and what is wrong."}, s.status)
	register(s, call{method: http.MethodGet, path: "/v1/sources", id: "sources", tag: "status",
		summary: "Where events come from"}, s.sources)
	register(s, call{method: http.MethodGet, path: "/v1/routes", id: "routes", tag: "status",
		summary: "Which events go where"}, s.routes)
	register(s, call{method: http.MethodGet, path: "/v1/handlers", id: "handlers", tag: "status",
		summary: "Where events go"}, s.handlers)
	register(s, call{method: http.MethodGet, path: "/v1/schedules", id: "schedules", tag: "status",
		summary: "When eventd makes events itself"}, s.schedules)
}

func (s *service) status(context.Context, *struct{}) (*out[wire.Status], error) {
	now := s.Overview.Snapshot()
	problems := s.Overview.Problems()
	return answer(wire.Status{
		Service: s.Service, Version: s.Version,
		StartedDttm:   wire.Time{Time: s.Started},
		UptimeSeconds: time.Since(s.Started).Round(time.Millisecond).Seconds(),
		Ready:         len(problems) == 0, Problems: orEmpty(problems),
		Connected: now.Connected,
		Counts:    countsOf(now.Counts), Oldest: oldestOf(now.Store.Oldest),
		Handlers: orEmpty(now.Handlers), Sources: orEmpty(now.Sources), Store: now.Store,
	})
}

func (s *service) sources(context.Context, *struct{}) (*out[wire.Sources], error) {
	return answer(wire.Sources{Sources: orEmpty(s.Overview.Snapshot().Sources)})
}

func (s *service) routes(context.Context, *struct{}) (*out[wire.Routes], error) {
	return answer(wire.Routes{Routes: orEmpty(s.Overview.Routes())})
}

func (s *service) handlers(context.Context, *struct{}) (*out[wire.Handlers], error) {
	return answer(wire.Handlers{Handlers: orEmpty(s.Overview.Snapshot().Handlers)})
}

func (s *service) schedules(context.Context, *struct{}) (*out[wire.Schedules], error) {
	return answer(wire.Schedules{Schedules: orEmpty(s.Overview.Schedules())})
}

// orEmpty returns a list that is [] in JSON where there is none.
func orEmpty[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// countsOf names every table and status, those without events as well.
func countsOf(c event.Counts) map[string]map[string]int {
	counts := make(map[string]map[string]int, len(event.Tables))
	for _, t := range event.Tables {
		counts[t.String()] = make(map[string]int, len(event.Statuses))
		for _, st := range event.Statuses {
			counts[t.String()][st.String()] = c[t][st]
		}
	}
	return counts
}

func oldestOf(oldest map[event.Status]time.Time) map[string]wire.Time {
	times := make(map[string]wire.Time, len(oldest))
	for st, at := range oldest {
		if !at.IsZero() {
			times[st.String()] = wire.Time{Time: at}
		}
	}
	return times
}
