// Package deploy_test holds the dashboard and the alert rules against what
// eventd really exposes.
package deploy_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/metrics"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// metric is what may be asked for under a name.
type metric struct {
	counter bool // only rises: to be used with rate, not with delta
	labels  []string
	series  []map[string]string // the labels of each
}

// targetLabels are given to every series by Prometheus.
var targetLabels = []string{"job", "instance"}

// exposed returns what a Prometheus that scrapes eventd has, by name.
func exposed(t *testing.T) map[string]*metric {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := metrics.New(reg, metrics.Build{Version: "v", Commit: "c", GoVersion: "go"})
	if err != nil {
		t.Fatal(err)
	}
	m.Configure(metrics.Labels{Sources: []string{"s"}, MessageTypes: []string{"m"}, Handlers: []string{"h"}})
	m.DeliveryEnded("h", event.Retry, event.HTTPStatus(503), time.Second)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*metric{"up": {series: []map[string]string{{}}}}
	for _, f := range families {
		expose(all, f)
	}
	return all
}

func expose(all map[string]*metric, f *dto.MetricFamily) {
	for _, m := range f.Metric {
		labels := map[string]string{}
		for _, l := range m.Label {
			labels[l.GetName()] = l.GetValue()
		}
		add := func(suffix string, counter bool, extra ...string) {
			x := all[f.GetName()+suffix]
			if x == nil {
				x = &metric{counter: counter}
				all[f.GetName()+suffix] = x
			}
			l := maps.Clone(labels)
			for _, name := range extra {
				l[name] = "1"
			}
			x.series = append(x.series, l)
			x.labels = slices.Sorted(maps.Keys(l))
		}
		switch f.GetType() {
		case dto.MetricType_HISTOGRAM:
			add("", true) // the native one
			add("_bucket", true, "le")
			add("_count", true)
			add("_sum", true)
		case dto.MetricType_SUMMARY:
			add("", false, "quantile")
			add("_count", true)
			add("_sum", true)
		default:
			add("", f.GetType() == dto.MetricType_COUNTER)
		}
	}
}
