package metrics

import (
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/prometheus/client_golang/prometheus"
)

// gauges computes how eventd stands when someone scrapes. The series follow
// from the configuration, their values from one snapshot.
type gauges struct {
	metrics *Metrics

	events, oldest                                 *prometheus.Desc
	inFlight, claims, queue, retries, paused       *prometheus.Desc
	overdue, blockedKeys                           *prometheus.Desc
	connected, sourcePending, sourceAckPending     *prometheus.Desc
	outbox, storeSize, storeFree, storeQuarantined *prometheus.Desc
}

func newGauges(m *Metrics) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &gauges{
		metrics: m,
		events:  desc("eventd_events", "Events in the store.", "table", "status"),
		oldest: desc("eventd_oldest_event_age_seconds",
			"Time since the oldest event with this status was received; 0 where there is none.", "status"),
		inFlight: desc("eventd_in_flight", "Attempts that run.", "handler"),
		claims:   desc("eventd_claims", "Events that services have claimed or taken over.", "handler"),
		queue:    desc("eventd_queue_length", "Deliveries that wait for a slot of their handler, retries aside.", "handler"),
		retries:  desc("eventd_retries_scheduled", "Deliveries that are to be tried again.", "handler"),
		overdue: desc("eventd_requests_overdue",
			"Requests sent by a handler whose response has not come within its response_within; counted up to 10,000.", "handler"),
		blockedKeys: desc("eventd_order_keys_blocked",
			"Order keys of a handler that wait for an event which is ERROR or FAILED; counted up to 1,000.", "handler"),
		paused: desc("eventd_handler_paused",
			"Whether a handler gets no events (1) for this reason.", "handler", "reason"),
		connected: desc("eventd_source_connected",
			"Whether NATS is connected and every source that is not paused receives (1)."),
		sourcePending: desc("eventd_source_pending",
			"Messages in the stream that the source has not been given yet.", "source"),
		sourceAckPending: desc("eventd_source_ack_pending",
			"Messages that the source has been given and not acknowledged yet.", "source"),
		outbox:           desc("eventd_outbox_length", "Messages that wait to be published."),
		storeSize:        desc("eventd_store_size_bytes", "Size of the store's file."),
		storeFree:        desc("eventd_store_free_bytes", "Part of the store's file that can be used again."),
		storeQuarantined: desc("eventd_store_quarantined", "Damaged records, set aside."),
	}
}

// Describe implements [prometheus.Collector].
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.events, g.oldest, g.inFlight, g.claims, g.queue, g.retries, g.paused, g.overdue, g.blockedKeys, g.connected, g.sourcePending,
		g.sourceAckPending, g.outbox, g.storeSize, g.storeFree, g.storeQuarantined,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	var s event.Snapshot
	if f := g.metrics.snapshot.Load(); f != nil {
		s = (*f)()
	}
	live, now := g.metrics.live.Load(), time.Now()
	g.collectEvents(ch, &s, now)
	g.collectHandlers(ch, live, s.Handlers, now)
	g.collectSources(ch, live, &s)
	gauge(ch, g.outbox, float64(s.Store.Outbox))
	gauge(ch, g.storeSize, float64(s.Store.Size))
	gauge(ch, g.storeFree, float64(s.Store.Free))
	gauge(ch, g.storeQuarantined, float64(s.Store.Quarantined))
}

func (g *gauges) collectEvents(ch chan<- prometheus.Metric, s *event.Snapshot, now time.Time) {
	for _, status := range event.Statuses {
		for _, t := range event.Tables {
			gauge(ch, g.events, float64(s.Counts[t][status]), t.String(), status.String())
		}
		if status == event.Completed {
			continue // nobody waits for these, and the store does not look for the oldest
		}
		var age time.Duration
		if t := s.Store.Oldest[status]; !t.IsZero() {
			age = now.Sub(t)
		}
		gauge(ch, g.oldest, seconds(age), status.String())
	}
}

// Reasons for which a handler gets no events.
const (
	manual  = "manual"     // a person paused it
	resting = "resting"    // it asked for a rest with Retry-After
	breaker = "breaker"    // it failed again and again
	unwell  = "unhealthy"  // probes of its health fail
	limited = "rate_limit" // its rate is used up for the moment
)

func (g *gauges) collectHandlers(ch chan<- prometheus.Metric, live *series, list []event.HandlerInfo, now time.Time) {
	known := make(map[string]*event.HandlerInfo, len(list))
	for i := range list {
		known[list[i].Name] = &list[i]
	}
	for name := range live.handlers {
		h := known[name]
		if h == nil {
			if name == other {
				continue // nothing is ever in flight to it
			}
			h = &event.HandlerInfo{}
		}
		gauge(ch, g.inFlight, float64(h.InFlight), name)
		gauge(ch, g.claims, float64(h.Claims), name)
		gauge(ch, g.queue, float64(h.Queue), name)
		gauge(ch, g.retries, float64(h.Retries), name)
		gauge(ch, g.overdue, float64(h.Overdue), name)
		gauge(ch, g.blockedKeys, float64(h.BlockedKeys), name)
		gone := h.PauseReason == string(event.Gone)
		gauge(ch, g.paused, number(h.Paused && !gone), name, manual)
		gauge(ch, g.paused, number(h.Paused && gone), name, string(event.Gone))
		gauge(ch, g.paused, number(h.RestUntil.After(now)), name, resting)
		gauge(ch, g.paused, number(h.BreakerUntil.After(now)), name, breaker)
		gauge(ch, g.paused, number(!h.UnhealthySince.IsZero()), name, unwell)
		gauge(ch, g.paused, number(h.RateLimited), name, limited)
	}
}

func (g *gauges) collectSources(ch chan<- prometheus.Metric, live *series, s *event.Snapshot) {
	connected := s.Connected
	known := make(map[string]*event.SourceInfo, len(s.Sources))
	for i := range s.Sources {
		x := &s.Sources[i]
		known[x.Name] = x
		connected = connected && (x.Paused || x.Connected && x.Problem == "")
	}
	gauge(ch, g.connected, number(connected))
	for name := range live.sources {
		x := known[name]
		if x == nil {
			if name == "" || name == api || name == other || live.schedules[name] {
				continue // no stream is behind these
			}
			x = &event.SourceInfo{}
		}
		gauge(ch, g.sourcePending, float64(x.Pending), name)
		gauge(ch, g.sourceAckPending, float64(x.AckPending), name)
	}
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, value, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	ch <- m
}
