package metrics_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// contract is what dashboards rely on: each metric with its type and labels.
var contract = map[string]string{
	"eventd_build_info":                                   "gauge commit goversion version",
	"eventd_events_received_total":                        "counter message_type source",
	"eventd_events_duplicate_total":                       "counter source",
	"eventd_events":                                       "gauge status table",
	"eventd_oldest_event_age_seconds":                     "gauge status",
	"eventd_deliveries_total":                             "counter handler outcome reason",
	"eventd_delivery_duration_seconds":                    "histogram handler",
	"eventd_event_duration_seconds":                       "histogram message_type",
	"eventd_in_flight":                                    "gauge handler",
	"eventd_claims":                                       "gauge handler",
	"eventd_queue_length":                                 "gauge handler",
	"eventd_handler_paused":                               "gauge handler reason",
	"eventd_order_keys_blocked":                           "gauge handler",
	"eventd_requests_overdue":                             "gauge handler",
	"eventd_retries_scheduled":                            "gauge handler",
	"eventd_retry_lateness_seconds":                       "histogram",
	"eventd_source_connected":                             "gauge",
	"eventd_source_pending":                               "gauge source",
	"eventd_source_ack_pending":                           "gauge source",
	"eventd_outbox_length":                                "gauge",
	"eventd_store_size_bytes":                             "gauge",
	"eventd_store_free_bytes":                             "gauge",
	"eventd_store_commit_duration_seconds":                "histogram",
	"eventd_store_commit_operations":                      "histogram",
	"eventd_store_quarantined":                            "gauge",
	"eventd_config_last_reload_successful":                "gauge",
	"eventd_config_last_reload_success_timestamp_seconds": "gauge",
}

// shape is a metric's type and sorted labels; "" when its series differ.
func shape(family *dto.MetricFamily) string {
	var all string
	for _, m := range family.Metric {
		parts := []string{}
		for _, l := range m.Label {
			parts = append(parts, l.GetName())
		}
		slices.Sort(parts)
		s := strings.Join(append([]string{strings.ToLower(family.GetType().String())}, parts...), " ")
		if all != "" && s != all {
			return ""
		}
		all = s
	}
	return all
}

func TestEveryMetricIsThereFromTheStart(t *testing.T) {
	got := open(t, small()).families(t, "")
	for name, want := range contract {
		family := got[name]
		if family == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if have := shape(family); have != want {
			t.Errorf("%s is %q; want %q", name, have, want)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "eventd_") && contract[name] == "" {
			t.Errorf("%s is not in the contract", name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if got[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestEverySeriesStartsAtZero(t *testing.T) {
	samples := open(t, small()).samples(t)
	for name, value := range samples {
		want := 0.0
		if strings.HasPrefix(name, "eventd_build_info") {
			want = 1
		}
		if value != want {
			t.Errorf("%s = %v; want %v", name, value, want)
		}
	}
	const golden = "testdata/start.txt"
	got := strings.Join(slices.Sorted(maps.Keys(samples)), "\n") + "\n"
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the series at the start are not those of %s:\n%s", golden, got)
	}
}

func TestFactsAreCounted(t *testing.T) {
	f := open(t, small())
	f.EventReceived("upstream", "RQ_A")
	f.EventReceived("upstream", "RQ_A")
	f.EventReceived("", "RQ_A")
	f.EventReceived("gone-source", "")
	f.EventDuplicate("upstream")
	f.EventEnded("RQ_A", 1500*time.Millisecond)
	f.EventEnded("RQ_A", -time.Hour)
	f.DeliveryEnded("ledger", event.Completed, "", 250*time.Millisecond)
	f.DeliveryEnded("ledger", event.Retry, event.HTTPStatus(503), time.Second)
	f.DeliveryEnded("ledger", event.Retry, event.HTTPStatus(503), time.Second)
	f.DeliveryEnded("unknown", event.Failed, event.Exhausted, time.Second)
	f.RetryLateness(2 * time.Second)
	f.Commit(4*time.Second, 7)
	f.want(t, map[string]float64{
		`eventd_events_received_total{message_type="RQ_A",source="upstream"}`:            2,
		`eventd_events_received_total{message_type="RQ_A",source="api"}`:                 1,
		`eventd_events_received_total{message_type="other",source="other"}`:              1,
		`eventd_events_received_total{message_type="other",source="upstream"}`:           0,
		`eventd_events_duplicate_total{source="upstream"}`:                               1,
		`eventd_event_duration_seconds_count{message_type="RQ_A"}`:                       2,
		`eventd_event_duration_seconds_sum{message_type="RQ_A"}`:                         1.5,
		`eventd_deliveries_total{handler="ledger",outcome="completed",reason=""}`:        1,
		`eventd_deliveries_total{handler="ledger",outcome="retry",reason="http_503"}`:    2,
		`eventd_deliveries_total{handler="other",outcome="failed",reason="exhausted"}`:   1,
		`eventd_delivery_duration_seconds_sum{handler="ledger"}`:                         2.25,
		`eventd_delivery_duration_seconds_count{handler="other"}`:                        1,
		`eventd_retry_lateness_seconds_sum`:                                              2,
		`eventd_store_commit_duration_seconds_sum`:                                       4,
		`eventd_store_commit_operations_sum`:                                             7,
		`eventd_deliveries_total{handler="unknown",outcome="failed",reason="exhausted"}`: -1,
		`eventd_deliveries_total{handler="ledger",outcome="COMPLETED",reason=""}`:        -1,
		`eventd_events_received_total{message_type="RQ_A",source=""}`:                    -1,
	})
}

func TestReloadIsNoted(t *testing.T) {
	f := open(t, small())
	f.ConfigReloaded(true, time.Unix(1700000000, 500e6))
	f.want(t, map[string]float64{
		"eventd_config_last_reload_successful":                1,
		"eventd_config_last_reload_success_timestamp_seconds": 1700000000.5,
	})
	f.ConfigReloaded(false, time.Unix(1800000000, 0))
	f.want(t, map[string]float64{
		"eventd_config_last_reload_successful":                0,
		"eventd_config_last_reload_success_timestamp_seconds": 1700000000.5,
	})
}

// Whatever messages say, they make no series.
func TestUnknownNamesAreBounded(t *testing.T) {
	f := open(t, small())
	before := len(f.samples(t))
	for i := range 10_000 {
		name := fmt.Sprintf("T%d-%d\xff", i, rand.Uint64())
		f.EventReceived("upstream", name)
		f.EventReceived(name, name)
		f.EventDuplicate(name)
		f.EventEnded(name, time.Second)
		f.DeliveryEnded(name, event.Completed, "", time.Second)
	}
	if after := len(f.samples(t)); after != before {
		t.Errorf("series = %d; want %d as before", after, before)
	}
	f.want(t, map[string]float64{
		`eventd_events_received_total{message_type="other",source="upstream"}`:   10_000,
		`eventd_events_received_total{message_type="other",source="other"}`:      10_000,
		`eventd_events_duplicate_total{source="other"}`:                          10_000,
		`eventd_event_duration_seconds_count{message_type="other"}`:              10_000,
		`eventd_deliveries_total{handler="other",outcome="completed",reason=""}`: 10_000,
	})
}

func TestReasonsAreBounded(t *testing.T) {
	f := open(t, small())
	for _, reason := range []event.Reason{
		"http_099", "http_600", "http_0503", "http_+503", "http_", "http_5e2", "http_-99", "card 4711 declined", "\xff",
	} {
		f.DeliveryEnded("ledger", event.Retry, reason, 0)
	}
	f.DeliveryEnded("ledger", event.Status(99), event.Timeout, 0)
	f.DeliveryEnded("ledger", event.Unprocessed, event.Timeout, 0)
	f.want(t, map[string]float64{
		`eventd_deliveries_total{handler="ledger",outcome="retry",reason="other"}`:   9,
		`eventd_deliveries_total{handler="ledger",outcome="other",reason="timeout"}`: 2,
	})
	before := f.count(t, "eventd_deliveries_total")
	for code := range 1000 {
		f.DeliveryEnded("ledger", event.Retry, event.HTTPStatus(code), 0)
	}
	if got := f.count(t, "eventd_deliveries_total") - before; got != 500 {
		t.Errorf("a thousand status codes made %d series; want 500", got)
	}
}

func TestConfigureAgain(t *testing.T) {
	f := open(t, metrics.Labels{
		Sources: []string{"upstream", "old-source"}, MessageTypes: []string{"RQ_A", "OLD"}, Handlers: []string{"ledger", "old-handler"},
	})
	for _, source := range []string{"upstream", "old-source"} {
		f.EventReceived(source, "RQ_A")
		f.EventReceived(source, "OLD")
		f.EventDuplicate(source)
	}
	f.EventEnded("OLD", time.Second)
	for _, handler := range []string{"ledger", "old-handler"} {
		f.DeliveryEnded(handler, event.Retry, event.HTTPStatus(503), time.Second)
	}
	f.Configure(metrics.Labels{
		Sources: []string{"upstream", "new-source"}, MessageTypes: []string{"RQ_A", "NEW"}, Handlers: []string{"ledger", "new-handler"},
	})
	f.DeliveryEnded("old-handler", event.Retry, event.HTTPStatus(503), time.Second)
	f.EventReceived("old-source", "OLD")
	f.want(t, map[string]float64{
		`eventd_events_received_total{message_type="RQ_A",source="upstream"}`:              1,
		`eventd_events_received_total{message_type="NEW",source="new-source"}`:             0,
		`eventd_events_received_total{message_type="RQ_A",source="old-source"}`:            -1,
		`eventd_events_received_total{message_type="OLD",source="upstream"}`:               -1,
		`eventd_events_received_total{message_type="other",source="other"}`:                1,
		`eventd_events_duplicate_total{source="upstream"}`:                                 1,
		`eventd_events_duplicate_total{source="old-source"}`:                               -1,
		`eventd_event_duration_seconds_count{message_type="OLD"}`:                          -1,
		`eventd_deliveries_total{handler="ledger",outcome="retry",reason="http_503"}`:      1,
		`eventd_deliveries_total{handler="old-handler",outcome="retry",reason="http_503"}`: -1,
		`eventd_deliveries_total{handler="old-handler",outcome="completed",reason=""}`:     -1,
		`eventd_deliveries_total{handler="other",outcome="retry",reason="http_503"}`:       1,
		`eventd_delivery_duration_seconds_count{handler="old-handler"}`:                    -1,
		`eventd_deliveries_total{handler="new-handler",outcome="completed",reason=""}`:     0,
		`eventd_source_pending{source="old-source"}`:                                       -1,
		`eventd_in_flight{handler="old-handler"}`:                                          -1,
	})
}

// Names that mean something here, appear twice or cannot be a label value do no harm.
func TestOddNames(t *testing.T) {
	f := open(t, metrics.Labels{
		Sources: []string{"api", "other", "x", "x", "", "\xff"}, MessageTypes: []string{"other", "", "A\"\n\\B"}, Handlers: []string{"other", "\xff"},
	})
	f.EventReceived("", "A\"\n\\B")
	f.EventReceived("api", "\xff")
	f.want(t, map[string]float64{
		`eventd_events_received_total{message_type="A\"\n\\B",source="api"}`: 1,
		`eventd_events_received_total{message_type="other",source="api"}`:    1,
		`eventd_events_received_total{message_type="",source="api"}`:         -1,
		`eventd_events_duplicate_total{source=""}`:                           -1,
	})
	f.Configure(metrics.Labels{})
	f.EventReceived("", "A")
	f.want(t, map[string]float64{`eventd_events_received_total{message_type="other",source="api"}`: 2})
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(open(t, small()).registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "eventd_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestRegisteredTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := metrics.New(reg, metrics.Build{}); err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.New(reg, metrics.Build{}); err == nil {
		t.Error("a second New on the same registry = nil; want an error")
	}
}

func TestObservingAllocatesNothing(t *testing.T) {
	f := open(t, small())
	reason := event.HTTPStatus(503)
	var took time.Duration
	observe := func() {
		took = (took + 37*time.Microsecond) % (10 * time.Millisecond)
		f.EventReceived("upstream", "RQ_A")
		f.EventReceived("", "unknown")
		f.EventDuplicate("upstream")
		f.EventEnded("RQ_A", took)
		f.DeliveryEnded("ledger", event.Completed, "", took)
		f.DeliveryEnded("ledger", event.Retry, reason, took)
		f.RetryLateness(took)
		f.Commit(took, 12)
	}
	for range 10_000 {
		observe() // native buckets are made when they are first hit
	}
	if n := testing.AllocsPerRun(5_000, observe); n != 0 {
		t.Errorf("observing allocates %v times; want 0", n)
	}
}

// Run under the race detector: facts, reloads and scrapes at the same time. No
// fact of a name that stays is lost, and no series outlives its name.
func TestConcurrent(t *testing.T) {
	f := open(t, small())
	f.SetSnapshot(func() event.Snapshot { return event.Snapshot{} })
	var facts atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				facts.Add(1)
				f.EventReceived("upstream", "RQ_A")
				f.DeliveryEnded("ledger", event.Retry, event.HTTPStatus(400+i%200), time.Millisecond)
				f.DeliveryEnded("passing", event.Retry, event.HTTPStatus(400+i%200), time.Millisecond)
			}
		})
	}
	with := small()
	with.Handlers = append(with.Handlers, "passing")
	for range 12 {
		f.Configure(with)
		f.samples(t)
		f.Configure(small())
		for name := range f.samples(t) {
			if strings.Contains(name, "passing") {
				t.Fatalf("%s outlived its handler", name)
			}
		}
	}
	close(stop)
	all.Wait()
	sum := 0.0
	for name, value := range f.samples(t) {
		if strings.HasPrefix(name, `eventd_deliveries_total{handler="ledger"`) {
			sum += value
		}
	}
	if want := float64(facts.Load()); sum != want || want == 0 {
		t.Errorf("deliveries of ledger = %v; want %v", sum, want)
	}
	f.want(t, map[string]float64{
		`eventd_events_received_total{message_type="RQ_A",source="upstream"}`: float64(facts.Load()),
	})
}

func BenchmarkEventReceived(b *testing.B) {
	f := open(b, small())
	for b.Loop() {
		f.EventReceived("upstream", "RQ_A")
	}
}

func BenchmarkDeliveryEnded(b *testing.B) {
	f := open(b, small())
	for b.Loop() {
		f.DeliveryEnded("ledger", event.Completed, "", 3*time.Millisecond)
	}
}
