package metrics

import (
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels are the names that series may have: those in the configuration.
type Labels struct {
	Sources      []string
	Schedules    []string // sources as well, but no stream is behind them
	MessageTypes []string // names only, no globs
	Handlers     []string
}

// Label values beside the configured ones. A source, message type or handler
// with such a name shares its series.
const (
	api   = "api"   // the source of what comes through the API and of replies
	other = "other" // what is not configured
)

// series are the counters of one configuration. A series is never changed, only
// replaced. Each map has [other].
type series struct {
	sources  map[string]*sourceSeries
	types    map[string]prometheus.Observer
	handlers map[string]*handlerSeries

	schedules map[string]bool // those of sources that have no stream
}

type sourceSeries struct {
	received   map[string]prometheus.Counter // by message type
	duplicates prometheus.Counter
}

// of returns what is kept for a name, or for [other].
func of[T any](m map[string]T, name string) T {
	if v, ok := m[name]; ok {
		return v
	}
	return m[other]
}

// Configure makes all series that the names allow for, at 0. Called again, it
// leaves the series of names that stay as they are and removes those of names
// that are gone; what such a name still does is counted as "other".
func (m *Metrics) Configure(l Labels) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.live.Load()
	next := &series{
		sources:  make(map[string]*sourceSeries),
		types:    make(map[string]prometheus.Observer),
		handlers: make(map[string]*handlerSeries),

		schedules: make(map[string]bool),
	}
	for _, t := range append(names(l.MessageTypes), other) {
		next.types[t] = m.eventTook.WithLabelValues(t)
	}
	for _, s := range append(names(l.Sources), api, other) {
		next.sources[s] = m.sourceSeries(s, next.types)
	}
	for _, s := range names(l.Schedules) {
		next.sources[s], next.schedules[s] = m.sourceSeries(s, next.types), true
	}
	// No configured source has an empty name.
	next.sources[""] = next.sources[api]
	for _, h := range append(names(l.Handlers), other) {
		next.handlers[h] = m.newHandlerSeries(h)
	}
	m.live.Store(next)
	m.remove(old, next)
}

func (m *Metrics) sourceSeries(source string, types map[string]prometheus.Observer) *sourceSeries {
	s := &sourceSeries{
		received:   make(map[string]prometheus.Counter, len(types)),
		duplicates: m.duplicates.WithLabelValues(source),
	}
	for t := range types {
		s.received[t] = m.received.WithLabelValues(source, t)
	}
	return s
}

// remove drops the series of names that only the old configuration has.
func (m *Metrics) remove(old, next *series) {
	for s := range old.sources {
		if next.sources[s] == nil {
			m.received.DeletePartialMatch(prometheus.Labels{"source": s})
			m.duplicates.DeleteLabelValues(s)
		}
	}
	for t := range old.types {
		if next.types[t] == nil {
			m.received.DeletePartialMatch(prometheus.Labels{"message_type": t})
			m.eventTook.DeleteLabelValues(t)
		}
	}
	for h := range old.handlers {
		if next.handlers[h] == nil {
			m.deliveries.DeletePartialMatch(prometheus.Labels{"handler": h})
			m.deliveryTook.DeleteLabelValues(h)
		}
	}
}

// names leaves out what cannot be a label value, which is then "other".
func names(list []string) []string {
	kept := make([]string, 0, len(list)+2)
	for _, n := range list {
		if n != "" && utf8.ValidString(n) {
			kept = append(kept, n)
		}
	}
	return kept
}

// valid makes any text fit for a label value.
func valid(s string) string { return strings.ToValidUTF8(s, "?") }
