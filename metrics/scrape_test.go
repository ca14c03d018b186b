package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/metrics"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// fixture is what the tests scrape.
type fixture struct {
	*metrics.Metrics
	registry *prometheus.Registry
}

func open(t testing.TB, l metrics.Labels) fixture {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m, err := metrics.New(reg, metrics.Build{Version: "1.2.3", Commit: "abc", GoVersion: "go1.26"})
	if err != nil {
		t.Fatal(err)
	}
	m.Configure(l)
	return fixture{Metrics: m, registry: reg}
}

func small() metrics.Labels {
	return metrics.Labels{Sources: []string{"upstream"}, MessageTypes: []string{"RQ_A"}, Handlers: []string{"ledger"}}
}

// families scrapes over HTTP and parses what comes, in the format asked for.
func (f fixture) families(t testing.TB, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	metrics.Handler(f.registry).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d: %s", w.Code, w.Body)
	}
	list := map[string]*dto.MetricFamily{}
	d := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	for {
		var family dto.MetricFamily
		err := d.Decode(&family)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("GET /metrics as %q: %v", w.Header().Get("Content-Type"), err)
		}
		list[family.GetName()] = &family
	}
}

// samples are the values of eventd's series by `name{label="value"}`, labels
// sorted; of a histogram those of _count and _sum.
func (f fixture) samples(t testing.TB) map[string]float64 {
	t.Helper()
	list := map[string]float64{}
	for name, family := range f.families(t, "") {
		if !strings.HasPrefix(name, "eventd_") {
			continue
		}
		for _, m := range family.Metric {
			labels := labelText(m)
			switch family.GetType() {
			case dto.MetricType_HISTOGRAM:
				list[name+"_count"+labels] = float64(m.Histogram.GetSampleCount())
				list[name+"_sum"+labels] = m.Histogram.GetSampleSum()
			case dto.MetricType_COUNTER:
				list[name+labels] = m.Counter.GetValue()
			default:
				list[name+labels] = m.Gauge.GetValue()
			}
		}
	}
	return list
}

func labelText(m *dto.Metric) string {
	var parts []string
	for _, l := range m.Label {
		parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// want checks samples; -1 stands for a series that must not be there.
func (f fixture) want(t *testing.T, values map[string]float64) {
	t.Helper()
	got := f.samples(t)
	for name, want := range values {
		have, ok := got[name]
		switch {
		case want == -1 && ok:
			t.Errorf("%s = %v; want no such series", name, have)
		case want == -1:
		case !ok:
			t.Errorf("%s is missing; want %v", name, want)
		case have != want:
			t.Errorf("%s = %v; want %v", name, have, want)
		}
	}
}

// count tells how many series a metric has.
func (f fixture) count(t *testing.T, name string) int {
	t.Helper()
	return len(f.families(t, "")[name].GetMetric())
}
