package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/metrics"
	dto "github.com/prometheus/client_model/go"
)

const (
	acceptProtobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	acceptOpenMetrics = "application/openmetrics-text;version=1.0.0"
)

func TestFormats(t *testing.T) {
	f := open(t, small())
	for accept, want := range map[string]string{
		"":                "text/plain",
		"text/plain":      "text/plain",
		acceptOpenMetrics: "application/openmetrics-text",
		acceptProtobuf:    "application/vnd.google.protobuf",
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		metrics.Handler(f.registry).ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(got, want) {
			t.Errorf("Accept %q = %d %q; want 200 %q", accept, w.Code, got, want)
		}
		if accept == acceptOpenMetrics && !strings.HasSuffix(w.Body.String(), "# EOF\n") {
			t.Error("OpenMetrics does not end with # EOF")
		}
	}
}

func TestHistogramsAreClassicAndNative(t *testing.T) {
	f := open(t, small())
	for d := 10 * time.Microsecond; d < 24*time.Hour; d += d/20 + 1 {
		f.EventEnded("RQ_A", d)
	}
	f.EventEnded("RQ_A", 0)
	for name, family := range f.families(t, acceptProtobuf) {
		if family.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(name, "eventd_") {
			continue
		}
		for _, m := range family.Metric {
			h := m.Histogram
			if len(h.Bucket) < 10 {
				t.Errorf("%s%s has %d classic buckets; want 10 or more", name, labelText(m), len(h.Bucket))
			}
			if h.Schema == nil || h.GetSampleCount() > 0 && len(h.PositiveSpan) == 0 {
				t.Errorf("%s%s is not native", name, labelText(m))
			}
			if n := len(h.PositiveDelta); n > 160 {
				t.Errorf("%s%s has %d native buckets; want 160 at most", name, labelText(m), n)
			}
			if h.GetSampleCount() == 0 && h.GetSchema() != 3 {
				t.Errorf("%s%s has schema %d; want 3, buckets 10%% wide", name, labelText(m), h.GetSchema())
			}
		}
	}
}
