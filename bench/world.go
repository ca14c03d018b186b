package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tools are the programs of a run.
type tools struct{ bench, eventd string }

func buildTools(ctx context.Context, dir string) (tools, error) {
	t := tools{eventd: filepath.Join(dir, "eventd")}
	self, err := os.Executable()
	if err != nil {
		return t, err
	}
	t.bench = self
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return t, errors.New("run it inside the checkout: go run ./bench")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", t.eventd, "./cmd/eventd")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return t, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return t, nil
}

// world is one round: a server and a sink of its own, and the system under test.
type world struct {
	options
	tools     tools
	dir       string
	nats      string // address
	sink      string // URL
	admin     string // URL of eventd's API
	processes []*exec.Cmd
}

// drain fills a stream, lets the system drain it, and returns what that took.
func (w *world) drain(ctx context.Context, system string) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := os.MkdirAll(w.dir, 0o750); err != nil {
		return r, err
	}
	defer os.RemoveAll(w.dir)
	defer w.end()
	if err := w.prepare(ctx); err != nil {
		return r, err
	}
	cmd, err := w.start(system)
	if err != nil {
		return r, err
	}
	seen, err := w.awaitSink(ctx)
	if err != nil {
		return r, err
	}
	if system == "eventd" {
		if err := w.awaitCompleted(ctx); err != nil {
			return r, err
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	r.rate = float64(seen.Count-1) / seen.Took.Seconds()
	r.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() * 100_000 / float64(w.messages)
	r.rss = float64(u.Maxrss) / 1024
	if fi, err := os.Stat(filepath.Join(w.dir, "data", "eventd.db")); err == nil {
		r.file = float64(fi.Size()) / float64(w.messages)
	}
	return r, nil
}

// end ends what still runs, by its pid.
func (w *world) end() {
	for _, p := range w.processes {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	}
}

func (w *world) spawn(program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(program, args...)
	log, err := os.Create(filepath.Join(w.dir, filepath.Base(program)+args[0]+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w.processes = append(w.processes, cmd)
	return cmd, nil
}

// prepare starts server and sink and fills the stream.
func (w *world) prepare(ctx context.Context) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	w.nats, w.sink = ports[0], "http://"+ports[1]
	if _, err := w.spawn(w.tools.bench, "nats", "-listen", ports[0], "-dir", filepath.Join(w.dir, "nats")); err != nil {
		return err
	}
	if _, err := w.spawn(w.tools.bench, "sink", "-listen", ports[1]); err != nil {
		return err
	}
	return w.fill(ctx)
}

func (w *world) fill(ctx context.Context) error {
	nc, err := nats.Connect("nats://"+w.nats, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		return err
	}
	for {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "BENCH", Subjects: []string{"bench.>"}})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	filler := strings.Repeat("x", max(0, w.size-90))
	for i := range w.messages {
		body := fmt.Sprintf(`{"event_id":"bench-%08x-%08d","message_type":"RQ_A_INIT","amount":%d,"filler":"%s"}`, uint32(i)*2654435761, i, i, filler)
		if _, err := js.PublishAsync("bench.in", []byte(body)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *world) start(system string) (*exec.Cmd, error) {
	if system == "loop" {
		return w.spawn(w.tools.bench, "loop", "-nats", w.nats, "-sink", w.sink, "-workers", fmt.Sprint(w.workers))
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`service: BENCH
data_dir: %s
log: {level: warn}
nats: {url: "nats://%s"}
admin: {listen: "%s"}
metrics: {listen: "%s"}
sources:
  in: {stream: BENCH, subject: bench.in}
handlers:
  sink: {http: "%s/", concurrency: %d}
routes:
  - {message_type: RQ_A_INIT, handler: sink}
`, filepath.Join(w.dir, "data"), w.nats, ports[0], ports[1], w.sink, w.workers)
	file := filepath.Join(w.dir, "routes.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	w.admin = "http://" + ports[0]
	return w.spawn(w.tools.eventd, "-config", file)
}

// seen is what the sink has counted.
type seen struct {
	Count int
	Took  time.Duration // between the first and the last request
}

func (w *world) awaitSink(ctx context.Context) (s seen, err error) {
	for s.Count < w.messages {
		if ctx.Err() != nil {
			return s, fmt.Errorf("%d of %d messages reached the sink", s.Count, w.messages)
		}
		time.Sleep(20 * time.Millisecond)
		if err := getJSON(ctx, w.sink+"/seen", &s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// awaitCompleted waits until every event is COMPLETED in the store.
func (w *world) awaitCompleted(ctx context.Context) error {
	for {
		var status struct {
			Counts map[string]map[string]int `json:"counts"`
		}
		if err := getJSON(ctx, w.admin+"/v1/status", &status); err != nil {
			return err
		}
		if status.Counts["inbound"]["COMPLETED"] == w.messages {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("events by status at the end: %v", status.Counts)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func getJSON(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(v)
}

func freePorts(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}
