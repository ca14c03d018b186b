package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/daemon"
	"github.com/eventd-io/eventd/internal/freeport"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen.
const patience = 15 * time.Second

// product is a whole eventd inside the test.
type product struct {
	*client.Client
	t       *testing.T
	dir     string
	file    string
	nats    string // address of the embedded server
	admin   string
	metrics string
	reload  chan struct{}
	log     *lines
	cancel  context.CancelFunc
	done    chan error
}

// lines is a log that a test can read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}

// prepare writes a configuration: the listeners and the given rest.
func prepare(t *testing.T, rest string) *product {
	t.Helper()
	p := &product{
		t: t, dir: t.TempDir(), nats: freeAddress(t), admin: freeAddress(t), metrics: freeAddress(t),
		reload: make(chan struct{}), log: &lines{},
	}
	p.file = filepath.Join(p.dir, "routes.yaml")
	p.write(rest)
	c, err := client.New("http://"+p.admin, "", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		t.Fatal(err)
	}
	p.Client = c
	return p
}

func (p *product) write(rest string) {
	p.t.Helper()
	text := fmt.Sprintf("service: SERVICE_A\ndata_dir: %s\nadmin: {listen: %q}\nmetrics: {listen: %q}\nshutdown_timeout: 5s\n",
		filepath.Join(p.dir, "data"), p.admin, p.metrics)
	if !strings.Contains(rest, "nats:") {
		text += fmt.Sprintf("nats: {embedded: {listen: %q}}\n", p.nats)
	}
	if err := os.WriteFile(p.file, []byte(text+rest), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// start runs eventd until the test ends and waits until it is up.
func (p *product) start() {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan error, 1)
	up := make(chan struct{})
	go func() {
		p.done <- daemon.Run(ctx, daemon.Options{
			ConfigPath: p.file, Log: p.log, Reload: p.reload, Ready: func() { close(up) },
		})
	}()
	p.t.Cleanup(p.stop)
	select {
	case <-up:
	case err := <-p.done:
		p.done <- err
		p.t.Fatalf("eventd ended: %v\n%s", err, p.log)
	case <-time.After(patience):
		p.t.Fatalf("eventd is not up\n%s", p.log)
	}
}

func (p *product) stop() {
	p.cancel()
	if err, ok := <-p.done; ok {
		close(p.done)
		if err != nil {
			p.t.Errorf("eventd ended with %v", err)
		}
	}
}

func run(t *testing.T, rest string) *product {
	t.Helper()
	p := prepare(t, rest)
	p.start()
	return p
}

// eventually waits until f returns nil.
func (p *product) eventually(f func() error) {
	p.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	p.t.Fatalf("%v\n%s", err, p.log)
}

// await waits until the event has the status, and returns all about it.
func (p *product) await(id, status string) (d wire.Detail) {
	p.t.Helper()
	p.eventually(func() (err error) {
		if d, err = p.Show(context.Background(), id); err != nil {
			return err
		}
		if got := d.Rows[len(d.Rows)-1].Status; got != status {
			return fmt.Errorf("event %s is %s; want %s", id, got, status)
		}
		return nil
	})
	return d
}

func publish(t *testing.T, address, subject string, bodies ...string) {
	t.Helper()
	nc, err := nats.Connect("nats://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies {
		if _, err := js.Publish(context.Background(), subject, []byte(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// endpoint is a handler that answers with the given statuses, then with 200.
func endpoint(t *testing.T, statuses ...int) (url string, calls func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		n++
		if n <= len(statuses) {
			w.WriteHeader(statuses[n-1])
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func routes(url string) string {
	return fmt.Sprintf(`
sources: {in: {subject: IN, source_service: UPSTREAM}}
retry: {default: {initial: 100ms, factor: 2, max: 1s, jitter: 0.2, max_attempts: 5}}
handlers: {h: {service: HANDLER, http: %q}}
routes: [{message_type: RQ_A, handler: h}]
`, url)
}

func TestTwoFailuresThenSuccess(t *testing.T) {
	url, calls := endpoint(t, 503, 503)
	p := run(t, routes(url))
	publish(t, p.nats, "IN", `{"event_id":"e1","message_type":"RQ_A"}`)
	d := p.await("e1", "COMPLETED")
	var got []string
	for _, e := range d.Timeline {
		got = append(got, e.Status)
	}
	const want = "IN_PROGRESS RETRY IN_PROGRESS RETRY IN_PROGRESS COMPLETED"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("timeline = %s; want %s", s, want)
	}
	if r := d.Rows[0]; r.Attempts != 3 || calls() != 3 || r.CreatedBy != "SERVICE_A" || r.UpdatedBy != "HANDLER" || r.SourceService != "UPSTREAM" {
		t.Errorf("row = %+v with %d calls; want 3 attempts and calls, created by SERVICE_A, updated by HANDLER, from UPSTREAM", r, calls())
	}
	// initial 100ms ± 20%, then 200ms ± 20%: never early.
	for i, bounds := range map[int][2]time.Duration{1: {80, 120}, 3: {160, 240}} {
		scheduled := d.Timeline[i+1].At.Sub(d.Timeline[i].At.Time)
		if scheduled < bounds[0]*time.Millisecond {
			t.Errorf("retry %d after %s; want at least %dms", i, scheduled, bounds[0])
		}
	}
}

func TestUndecodableAndUnroutedAreKept(t *testing.T) {
	url, calls := endpoint(t)
	p := run(t, routes(url)+"dead_letter: DEAD\n")
	publish(t, p.nats, "IN", "no event at all", `{"event_id":"stray","message_type":"UNKNOWN"}`)
	if r := p.await("stray", "ERROR").Rows[0]; r.Reason != "no_route" {
		t.Errorf("reason = %s; want no_route", r.Reason)
	}
	p.eventually(func() error {
		list, err := p.List(context.Background(), client.Query{Reason: "undecodable"})
		if err == nil && len(list.Events) != 1 {
			err = fmt.Errorf("%d undecodable events; want 1", len(list.Events))
		}
		return err
	})
	if calls() != 0 {
		t.Errorf("handler was called %d times; want 0", calls())
	}
	p.write(strings.Replace(routes(url), "RQ_A", `"*"`, 1))
	if err := p.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.await("stray", "COMPLETED")
}

// TestUndecodableAreTakenUp once the source says of which type its messages are.
func TestUndecodableAreTakenUp(t *testing.T) {
	url, calls := endpoint(t)
	p := run(t, routes(url))
	publishWith(t, p.nats, "IN", "a line of text", nats.Header{"Nats-Msg-Id": {"line-1"}, "X-Of": {"ledger"}})
	var kept string
	p.eventually(func() error {
		list, err := p.List(context.Background(), client.Query{Reason: "undecodable"})
		if err != nil || len(list.Events) != 1 {
			return fmt.Errorf("%d undecodable events, %w; want 1", len(list.Events), err)
		}
		kept = list.Events[0].EventID
		return nil
	})
	p.write(strings.Replace(routes(url), "subject: IN", "subject: IN, message_type: RQ_A", 1))
	if err := p.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	now := p.await("line-1", "COMPLETED").Rows[0]
	if now.MessageType != "RQ_A" || now.CausationID != kept || now.SourceService != "UPSTREAM" || calls() != 1 {
		t.Errorf("%+v, %d calls; want RQ_A from UPSTREAM, caused by %s, and 1 call", now, calls(), kept)
	}
	d := p.await(kept, "COMPLETED")
	if last := d.Timeline[len(d.Timeline)-1].Detail; !strings.Contains(last, "it is event line-1 of table inbound") {
		t.Errorf("its timeline ends with %q", last)
	}
}

func TestReloadOfABadFileChangesNothing(t *testing.T) {
	url, _ := endpoint(t)
	p := run(t, routes(url))
	p.write(routes(url) + "sorces: {}\n")
	p.reload <- struct{}{}
	p.eventually(func() error {
		if text := p.log.String(); !strings.Contains(text, `did you mean \"sources\"`) {
			return errors.New("the log does not say what is wrong")
		}
		return nil
	})
	publish(t, p.nats, "IN", `{"event_id":"e1","message_type":"RQ_A"}`)
	p.await("e1", "COMPLETED")
}

// TestSurvivesNATSOutages begins without a server and loses it in between.
func TestSurvivesNATSOutages(t *testing.T) {
	url, _ := endpoint(t)
	address := freeAddress(t)
	p := run(t, fmt.Sprintf("nats: {url: \"nats://%s\", streams: {S: {subjects: [IN]}}}", address)+routes(url))
	if err := p.Ready(context.Background()); err == nil || !strings.Contains(err.Error(), "NATS") {
		t.Errorf("Ready without a server = %v; want a problem with NATS", err)
	}
	dir := t.TempDir()
	s := natsServer(t, address, dir)
	p.eventually(func() error { return p.Ready(context.Background()) })
	publish(t, address, "IN", `{"event_id":"e1","message_type":"RQ_A"}`)
	p.await("e1", "COMPLETED")
	s.Shutdown()
	s.WaitForShutdown()
	p.eventually(func() error {
		if p.Ready(context.Background()) == nil {
			return errors.New("ready without a server")
		}
		return nil
	})
	// The API goes on without NATS.
	if _, err := p.Send(context.Background(), wire.NewEvent{EventID: "e2", MessageType: "RQ_A"}); err != nil {
		t.Fatal(err)
	}
	p.await("e2", "COMPLETED")
	natsServer(t, address, dir)
	p.eventually(func() error { return p.Ready(context.Background()) })
	publish(t, address, "IN", `{"event_id":"e3","message_type":"RQ_A"}`)
	p.await("e3", "COMPLETED")
}

func natsServer(t *testing.T, address, dir string) *server.Server {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	o := &server.Options{Host: host, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true}
	if _, err := fmt.Sscan(port, &o.Port); err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func TestTopicHandlerAndCorrelation(t *testing.T) {
	p := run(t, `
sources:
  in: {subject: IN, source_service: UPSTREAM}
  back: {subject: BACK, table: response, source_service: DOWNSTREAM}
handlers:
  out: {service: SERVICE_B, topic: OUT, target_service: DOWNSTREAM}
  log: {log: {}}
routes:
  - {message_type: RQ_A, handler: out}
  - {message_type: RS_A, handler: log}
`)
	publish(t, p.nats, "IN", `{"event_id":"e1","message_type":"RQ_A","correlation_id":"c1"}`)
	d := p.await("e1", "COMPLETED")
	if len(d.Payloads) != 2 || d.Payloads[1].Topic != "OUT" || d.Payloads[1].TargetService != "DOWNSTREAM" || d.Payloads[1].SourceService != "UPSTREAM" {
		t.Errorf("payload rows = %+v; want the one received and the one sent on OUT to DOWNSTREAM", d.Payloads)
	}
	publish(t, p.nats, "BACK", `{"event_id":"e1","message_type":"RS_A"}`)
	p.eventually(func() error {
		list, err := p.List(context.Background(), client.Query{CorrelationID: "c1", OldestFirst: true})
		if err == nil && (len(list.Events) != 2 || list.Events[1].Table != "response" || list.Events[1].Status != "COMPLETED") {
			err = fmt.Errorf("conversation c1 = %+v; want the request and the response to it", list.Events)
		}
		return err
	})
}

func TestMetricsFromTheStart(t *testing.T) {
	url, _ := endpoint(t)
	p := run(t, routes(url))
	res, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	for _, name := range []string{
		"eventd_build_info", "eventd_events_received_total", "eventd_events_duplicate_total", "eventd_events",
		"eventd_oldest_event_age_seconds", "eventd_deliveries_total", "eventd_delivery_duration_seconds",
		"eventd_event_duration_seconds", "eventd_in_flight", "eventd_queue_length", "eventd_handler_paused",
		"eventd_retries_scheduled", "eventd_retry_lateness_seconds", "eventd_source_connected", "eventd_source_pending",
		"eventd_source_ack_pending", "eventd_outbox_length", "eventd_store_size_bytes", "eventd_store_free_bytes",
		"eventd_store_commit_duration_seconds", "eventd_store_commit_operations", "eventd_store_quarantined",
		"eventd_config_last_reload_successful", "eventd_config_last_reload_success_timestamp_seconds",
	} {
		if families[name] == nil {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

func TestBrokenStoresAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		code    int
	}{
		"foreign": {strings.Repeat("not a store ", 2000), daemon.ExitStoreCorrupt},
		"empty":   {"", daemon.ExitStoreCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			p := prepare(t, routes("http://127.0.0.1:1"))
			db := filepath.Join(p.dir, "data", "eventd.db")
			if err := os.MkdirAll(filepath.Dir(db), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(db, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			err := daemon.Run(context.Background(), daemon.Options{ConfigPath: p.file, Log: p.log})
			if code := daemon.ExitCode(err); code != c.code || strings.Contains(err.Error(), "\n") {
				t.Errorf("Run = %v, code %d; want one line and code %d", err, code, c.code)
			}
			if b, err := os.ReadFile(db); err != nil || string(b) != c.content {
				t.Errorf("the file was changed")
			}
		})
	}
}
