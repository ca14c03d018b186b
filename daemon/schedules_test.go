package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/event"
)

// received is a request as a handler got it.
type received struct {
	header http.Header
	body   string
}

// recorder is a handler that keeps what it gets.
func recorder(t *testing.T) (url string, all func() []received) {
	t.Helper()
	var mu sync.Mutex
	var list []received
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		list = append(list, received{r.Header.Clone(), string(body)})
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []received { mu.Lock(); defer mu.Unlock(); return slices.Clone(list) }
}

func scheduledRoutes(url, schedules string) string {
	return fmt.Sprintf(`
handlers: {h: {service: HANDLER, http: %q}}
routes: [{name: clock, message_type: "*", table: request, handler: h}]
schedules: {%s}
`, url, schedules)
}

const everySecond = `beat: {cron: "* * * * * *", message_type: RQ_BEAT, payload: '{"n": 1}', headers: {X-Tenant: north}, correlation_id: beats}`

// TestSchedules from the clock to the handler: each second once, over restarts.
func TestSchedules(t *testing.T) {
	ctx := context.Background()
	url, all := recorder(t)
	p := run(t, scheduledRoutes(url, everySecond))
	p.eventually(func() error { return atLeast("received", len(all()), 2) })
	got := all()[0]
	for name, want := range map[string]string{
		"Ce-Type": "RQ_BEAT", "Ce-Correlationid": "beats", "X-Tenant": "north", "Content-Type": "application/json",
		"Eventd-Table": "request", "Eventd-Route": "clock", "Ce-Source": "/eventd/SERVICE_A/SERVICE_A",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s = %q; want %q", name, got.header.Get(name), want)
		}
	}
	if got.body != `{"n": 1}` {
		t.Errorf("body = %s", got.body)
	}
	p.stop()
	p.start()
	before := len(all())
	p.eventually(func() error { return atLeast("received", len(all()), before+2) })
	seen := map[string]bool{}
	for _, r := range all() {
		at := r.header.Get("Ce-Time")
		if when, err := time.Parse(time.RFC3339, at); err != nil || seen[at] || when.Nanosecond() != 0 {
			t.Errorf("time = %q, %v; want each second once", at, err)
		}
		seen[at] = true
		if r.header.Get("Ce-Id") != event.DeriveID("schedule", "beat", at) {
			t.Errorf("id = %s; want that of %s", r.header.Get("Ce-Id"), at)
		}
	}
	list, err := p.Schedules(ctx)
	if err != nil || len(list) != 1 || list[0].LastEventID == "" || !list[0].Next.After(list[0].Last) {
		t.Errorf("Schedules = %+v, %v", list, err)
	}
	d := p.await(list[0].LastEventID, "COMPLETED")
	if r := d.Rows[0]; r.Source != "schedules/beat" || r.CreatedBy != "SERVICE_A" || r.SourceService != "SERVICE_A" || r.CorrelationID != "beats" {
		t.Errorf("row = %+v", r)
	}
	metrics := scrape(t, p)
	if !strings.Contains(metrics, `eventd_events_received_total{message_type="RQ_BEAT",source="schedules/beat"} `) ||
		strings.Contains(metrics, `eventd_events_received_total{message_type="RQ_BEAT",source="schedules/beat"} 0`) {
		t.Error("/metrics does not count the events of the schedule")
	}
}

func scrape(t *testing.T, p *product) string {
	t.Helper()
	res, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReloadOfSchedules: they come, go, and a bad one changes nothing.
func TestReloadOfSchedules(t *testing.T) {
	ctx := context.Background()
	url, all := recorder(t)
	p := run(t, scheduledRoutes(url, ""))
	p.write(scheduledRoutes(url, everySecond))
	if err := p.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	p.eventually(func() error { return atLeast("received", len(all()), 1) })
	p.write(scheduledRoutes(url, `beat: {cron: "* * * * * 9", message_type: RQ_BEAT}`))
	var refused *client.Error
	if err := p.Reload(ctx); !errors.As(err, &refused) || !strings.Contains(err.Error(), "schedules.beat.cron") {
		t.Errorf("Reload of a bad cron = %v; want a refusal", err)
	}
	before := len(all())
	p.eventually(func() error { return atLeast("received", len(all()), before+1) })
	p.write(scheduledRoutes(url, `yearly: {cron: "@yearly", message_type: RQ_YEAR}`))
	if err := p.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	list, err := p.Schedules(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "yearly" || !list[0].Last.IsZero() {
		t.Errorf("Schedules = %+v, %v; want yearly alone", list, err)
	}
}
