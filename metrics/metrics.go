// Package metrics turns facts about events into Prometheus series.
//
// Facts are counted when they happen: [Metrics] has a method for each, and
// satisfies the observers that the router and the store ask for. How things
// stand is asked when someone scrapes: the gauges are computed from one
// [event.Snapshot], never kept up to date in between.
//
// Invariants:
//   - Label values come from the configuration and from constant tables, never
//     from a message. What is not configured is counted as "other".
//   - Every series that the configuration allows for is there from the start,
//     at 0. Only a delivery's HTTP status is met before it is shown.
//   - Observing a fact takes no lock and allocates nothing: what it writes to
//     is resolved when the configuration is, and looked up in a map that is
//     never changed, only replaced.
//
// Reading order: [Metrics] (what is counted), [Metrics.Configure] (which series
// there are), deliveries.go (how outcomes stay bounded), gauges.go (what is
// computed when scraped), [Handler].
package metrics

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Build says which program it is.
type Build struct {
	Version   string
	Commit    string
	GoVersion string
}

// Metrics counts facts. Its methods may be called from any goroutine and do not
// block.
type Metrics struct {
	received      *prometheus.CounterVec
	duplicates    *prometheus.CounterVec
	eventTook     *prometheus.HistogramVec
	deliveries    *prometheus.CounterVec
	deliveryTook  *prometheus.HistogramVec
	lateness      prometheus.Histogram
	commitTook    prometheus.Histogram
	commitSize    prometheus.Histogram
	reloadOK      prometheus.Gauge
	reloadSuccess prometheus.Gauge

	snapshot atomic.Pointer[func() event.Snapshot]

	mu   sync.Mutex // held while series are made or removed
	live atomic.Pointer[series]
}

// New registers eventd's metrics, those of the Go runtime and those of the
// process with reg. It fails when reg has one of them already; some may be
// registered then, so reg is of no more use.
func New(reg prometheus.Registerer, b Build) (*Metrics, error) {
	m := newMetrics()
	m.live.Store(&series{})
	m.Configure(Labels{})
	for _, c := range []prometheus.Collector{
		m.received, m.duplicates, m.eventTook, m.deliveries, m.deliveryTook, m.lateness,
		m.commitTook, m.commitSize, m.reloadOK, m.reloadSuccess, buildInfo(b), newGauges(m),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func newMetrics() *Metrics {
	return &Metrics{
		received: counters("eventd_events_received_total",
			"Events taken in, duplicates included.", "source", "message_type"),
		duplicates: counters("eventd_events_duplicate_total",
			"Events that had been stored before and were not stored again.", "source"),
		eventTook: histograms("eventd_event_duration_seconds",
			"Time from an event's receipt to its final status.", lifetimes(), "message_type"),
		deliveries: counters("eventd_deliveries_total",
			"Attempts that ended, by what became of the delivery.", "handler", "outcome", "reason"),
		deliveryTook: histograms("eventd_delivery_duration_seconds",
			"Duration of attempts.", attempts(), "handler"),
		lateness: prometheus.NewHistogram(histogram("eventd_retry_lateness_seconds",
			"Time from when a retry was due to when its attempt began.", delays())),
		commitTook: prometheus.NewHistogram(histogram("eventd_store_commit_duration_seconds",
			"Duration of the store's commits, from begin to disk.", syncs())),
		commitSize: prometheus.NewHistogram(histogram("eventd_store_commit_operations",
			"Operations that shared a commit.", groups())),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{Name: "eventd_config_last_reload_successful",
			Help: "Whether the configuration was taken when it was last read (1) or refused (0)."}),
		reloadSuccess: prometheus.NewGauge(prometheus.GaugeOpts{Name: "eventd_config_last_reload_success_timestamp_seconds",
			Help: "Unix time at which the configuration in force was read."}),
	}
}

func buildInfo(b Build) prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "eventd_build_info", Help: "Always 1; the labels say which program it is.",
	}, []string{"version", "commit", "goversion"})
	info.WithLabelValues(valid(b.Version), valid(b.Commit), valid(b.GoVersion)).Set(1)
	return info
}

// SetSnapshot says whom to ask how eventd stands. Until then the gauges are 0.
// f is called once for each scrape, maybe by several at the same time.
func (m *Metrics) SetSnapshot(f func() event.Snapshot) { m.snapshot.Store(&f) }

// EventReceived counts an event that was taken in through a source; "" stands
// for the API and handlers' replies.
func (m *Metrics) EventReceived(source, messageType string) {
	of(of(m.live.Load().sources, source).received, messageType).Inc()
}

// EventDuplicate counts an event that was stored before. It was counted as
// received, too.
func (m *Metrics) EventDuplicate(source string) {
	of(m.live.Load().sources, source).duplicates.Inc()
}

// EventEnded observes the time an event took to reach its final status.
func (m *Metrics) EventEnded(messageType string, took time.Duration) {
	of(m.live.Load().types, messageType).Observe(seconds(took))
}

// RetryLateness observes how long after its time a retry began.
func (m *Metrics) RetryLateness(late time.Duration) { m.lateness.Observe(seconds(late)) }

// Commit observes a commit of the store.
func (m *Metrics) Commit(took time.Duration, operations int) {
	m.commitTook.Observe(seconds(took))
	m.commitSize.Observe(float64(operations))
}

// ConfigReloaded notes whether the configuration was taken when it was last
// read, at the start or later.
func (m *Metrics) ConfigReloaded(ok bool, at time.Time) {
	m.reloadOK.Set(number(ok))
	if ok {
		m.reloadSuccess.Set(float64(at.UnixMilli()) / 1e3)
	}
}

// seconds is never negative: a clock that was set back must not make a sum fall.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
