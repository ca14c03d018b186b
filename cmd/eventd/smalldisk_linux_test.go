package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// smallDisk is the file system of a store in MiB, and smallConfig the daemon on
// it: what has ended goes soon, large documents stay with their conversations, and
// each event has a follow-up that is published.
const (
	smallDisk   = 16
	smallConfig = `
service: SMALL
data_dir: disk/data
log: {level: info}
shutdown_timeout: 5s
nats: {url: "nats://NATS", streams: {IN: {subjects: [IN]}, OUT: {subjects: [OUT]}}}
sources: {in: {subject: IN, ack_wait: 2s, max_ack_pending: 64}}
store: {dedupe_window: 2s, retention: {completed: 2s, error: 1h, failed: 1h, payload: 1s}}
retry: {default: {backoff: constant, initial: 30ms, max_attempts: unlimited, max_elapsed: unlimited}}
routes:
  - {message_type: LOAD, handler: counting, remember: {blob: data.blob, keep: data.keep}}
  - {message_type: FOLLOW, handler: out}
`
)

// TestSmallDisk keeps a daemon under load, from JetStream and through its API, on
// a file system of 16 MiB that someone else fills again and again: it stops
// taking events and says so, lives, and when there is room again everything comes
// to its end. EVENTD_SMALL_DISK says how often it is filled; it needs the right to
// mount.
func TestSmallDisk(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("EVENTD_SMALL_DISK"))
	if err != nil {
		t.Skip("EVENTD_SMALL_DISK says how often the disk is filled; make small-disk")
	}
	for _, kind := range []string{"ext4", "tmpfs"} {
		t.Run(kind, func(t *testing.T) { smallDiskRounds(t, kind, rounds) })
	}
}

func smallDiskRounds(t *testing.T, kind string, rounds int) {
	load := &diskLoad{t: t, done: map[string]int{}, sent: map[string]bool{}}
	h := httptest.NewServer(load)
	t.Cleanup(h.Close)
	s := newSite(t, smallConfig+`
handlers:
  counting: {http: "`+h.URL+`", concurrency: 16, timeout: 5s}
  out: {topic: OUT}
`)
	disk := mountSmall(t, s.dir, kind)
	s.startNATS(nil)
	p := s.start()
	s.up(p)
	s.ready()
	load.begin(s, p)
	refused := int64(0)
	for round := range rounds {
		if !load.moves() {
			st, err := s.client().Status(context.Background())
			t.Fatalf("round %d: nothing goes through; the process has ended: %t; %+v, %v\n%s", round, p.over(), st, err, s.log.tail(10))
		}
		load.pause(rand.N(2 * time.Second)) // a random moment, wherever retention and the file stand then
		filler := filepath.Join(disk, "filler")
		fillDisk(t, filler)
		if round%2 == 0 { // nothing ends, and retention makes no room
			load.failing.Store(true)
			if !eventually(func() bool { return p.over() || load.refused.Load() > refused }) || p.over() {
				t.Fatalf("round %d: the API refuses nothing; the process has ended: %t\n%s", round, p.over(), s.log.tail(10))
			}
			s.notReady("the disk is full")
			load.failing.Store(rand.N(2) == 0)
		}
		load.pause(rand.N(4 * time.Second))
		if p.over() {
			t.Fatalf("round %d: eventd ended on a full disk\n%s", round, s.log.tail(10))
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		load.failing.Store(false)
		s.ready()
		refused = load.refused.Load()
	}
	load.moves()
	load.end()
	load.checkEnds(s)
	t.Logf("%s: filled %d times: %d events from JetStream and the API, %d requests refused, %d handled more than once",
		kind, rounds, len(load.sent), load.refused.Load(), load.again())
	p.signal(syscall.SIGTERM)
	p.ends(0)
	if out, err := exec.Command("eventd", "store", "check", filepath.Join(disk, "data", "eventd.db")).CombinedOutput(); err != nil {
		t.Errorf("store check: %v\n%s", err, out)
	}
}

// TestReadOnlyDisk has the kernel make the file system of a store read-only, as it
// does when a disk fails: the daemon lives, reads, and says why it takes nothing.
// Linux lets nobody write to such a file system again before it is mounted anew, so
// that the daemon has to be started again then; and it finds all that it had.
func TestReadOnlyDisk(t *testing.T) {
	if os.Getenv("EVENTD_SMALL_DISK") == "" {
		t.Skip("it needs the right to mount; make small-disk")
	}
	counted, h := startHandler(t)
	s := newSite(t, smallConfig+`
handlers:
  counting: {http: "`+h.URL+`", concurrency: 16, timeout: 5s}
  out: {topic: OUT}
`)
	disk := mountSmall(t, s.dir, "ext4")
	s.startNATS(nil)
	p := s.start()
	s.up(p)
	s.ready()
	send := func(id string) error {
		_, err := s.client().Send(context.Background(), wire.NewEvent{MessageType: "LOAD", EventID: id, Payload: []byte(`{}`)})
		return err
	}
	if err := send("before"); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return s.row("before").Status == "COMPLETED" && s.messages("OUT") == 1 }) {
		t.Fatalf("it is %s", s.row("before").Status)
	}
	// Nothing is on its way now: what fails in a commit is its end.
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		t.Skipf("remount: %v %s", err, out)
	}
	var refusal *client.Error
	if err := send("late"); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || !strings.Contains(refusal.Detail, "read-only") {
		t.Errorf("send on a read-only file system: %v; want 503 that says so", err)
	}
	s.notReady("the file system is read-only")
	if n := counted.total(); p.over() || n == 0 {
		t.Errorf("ended %t, %d executions; want it to live", p.over(), n)
	}
	if _, err := s.client().Status(context.Background()); err != nil {
		t.Errorf("status: %v; want reading to go on", err)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
	remount(t, s.dir, disk)
	p = s.start()
	s.up(p)
	s.ready()
	if err := send("late"); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// TestStopOnReadOnlyDisk stops a daemon while an outcome, and the mark of a schedule
// that came with a reload, wait for a file system that has become read-only. What
// was in flight is tried again when there is another one.
func TestStopOnReadOnlyDisk(t *testing.T) {
	if os.Getenv("EVENTD_SMALL_DISK") == "" {
		t.Skip("it needs the right to mount; make small-disk")
	}
	t.Run("known", func(t *testing.T) { stopOnReadOnlyDisk(t, "", false) })
	t.Run("found while it stops", func(t *testing.T) { stopOnReadOnlyDisk(t, "", true) })
	t.Run("schedule", func(t *testing.T) {
		stopOnReadOnlyDisk(t, `schedules: {s: {cron: "@yearly", missed: skip, message_type: LOAD}}`, false)
	})
}

func stopOnReadOnlyDisk(t *testing.T, schedules string, late bool) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	t.Cleanup(h.Close)
	s := newSite(t, smallConfig+`
handlers:
  counting: {http: "`+h.URL+`", concurrency: 1, timeout: 30s}
  out: {topic: OUT}
`)
	disk := mountSmall(t, s.dir, "ext4")
	s.startNATS(nil)
	p := s.start()
	s.up(p)
	s.ready()
	for _, id := range []string{"held", "queued"} {
		if _, err := s.client().Send(context.Background(), wire.NewEvent{MessageType: "LOAD", EventID: id, Payload: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	<-arrived
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		t.Skipf("remount: %v %s", err, out)
	}
	if late {
		p.signal(syscall.SIGTERM)
		if !eventually(func() bool { return strings.Contains(s.log.tail(20), "stopping") }) {
			t.Fatal("it does not stop")
		}
		close(release)
	} else {
		close(release)
		s.notReady("the file system is read-only")
	}
	if schedules != "" {
		s.addSchedules(p, schedules)
	}
	if !late {
		p.signal(syscall.SIGTERM)
	}
	p.ends(0)
	remount(t, s.dir, disk)
	p = s.start()
	s.up(p)
	s.ready()
	if !eventually(func() bool { return s.row("held").Status == "COMPLETED" && s.row("queued").Status == "COMPLETED" }) {
		t.Errorf("held is %s, queued is %s; want both COMPLETED", s.row("held").Status, s.row("queued").Status)
	}
	if n := s.row("held").Attempts; n != 2 {
		t.Errorf("%d attempts of what was in flight; want 2", n)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// addSchedules puts schedules in force.
func (s *site) addSchedules(p *process, schedules string) {
	t := s.t
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "routes.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(schedules + "\n")
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	if !eventually(func() bool { return strings.Contains(s.log.tail(20), "configuration is reloaded") }) {
		t.Fatal("the configuration is not reloaded")
	}
}

// remount takes a small file system away and mounts it again.
func remount(t *testing.T, dir, disk string) {
	t.Helper()
	for _, c := range [][]string{{"umount", disk}, {"mount", "-o", "loop", filepath.Join(dir, "image"), disk}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", c, err, out)
		}
	}
}

// mountSmall mounts a small file system in a folder, until the test ends.
func mountSmall(t *testing.T, dir, kind string) string {
	t.Helper()
	disk, image := filepath.Join(dir, "disk"), filepath.Join(dir, "image")
	if err := os.Mkdir(disk, 0o750); err != nil {
		t.Fatal(err)
	}
	mount := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", smallDisk), "eventd", disk)
	if kind == "ext4" {
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, smallDisk<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image).CombinedOutput(); err != nil {
			t.Skipf("mkfs.ext4: %v %s", err, out)
		}
		mount = exec.Command("mount", "-o", "loop", image, disk)
	}
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("it cannot be mounted: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return disk
}

// fillDisk writes a file until nothing more goes onto its file system.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // what it holds is of no use
	for _, piece := range []int{256 << 10, 16 << 10, 4 << 10} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, piece))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// diskLoad sends events in both ways and keeps what became of them: rows go soon.
type diskLoad struct {
	t       *testing.T
	stop    context.CancelFunc
	work    sync.WaitGroup
	conn    *nats.Conn
	refused atomic.Int64 // requests of the API
	failing atomic.Bool  // the handler does

	mu       sync.Mutex
	numbered int
	sent     map[string]bool // acknowledged by the NATS server, or stored by the API
	done     map[string]int  // answered well by the handler
}

// ServeHTTP implements [http.Handler]: one event in ten is wanted again, the
// others have a follow-up.
func (l *diskLoad) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if l.failing.Load() || rand.N(10) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	l.mu.Lock()
	l.done[r.Header.Get("webhook-id")]++
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/cloudevents+json")
	_, _ = fmt.Fprintf(w, `{"specversion": "1.0", "type": "FOLLOW", "source": "/counting", "data": {"of": %q}}`, r.Header.Get("webhook-id"))
}

func (l *diskLoad) begin(s *site, p *process) {
	l.t.Helper()
	var err error
	if l.conn, err = nats.Connect("nats://127.0.0.1:" + s.nats); err != nil {
		l.t.Fatal(err)
	}
	js, err := jetstream.New(l.conn)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func() {
		select {
		case <-p.ended:
			stop()
		case <-ctx.Done():
		}
	}()
	allowed := rate.NewLimiter(250, 10)
	for range 4 {
		l.work.Go(func() {
			for allowed.Wait(ctx) == nil {
				l.send(ctx, func(ctx context.Context, id, conversation string, data []byte) error {
					return publishOne(ctx, js, id, conversation, data)
				})
			}
		})
		c := s.client()
		l.work.Go(func() {
			for allowed.Wait(ctx) == nil {
				l.send(ctx, func(ctx context.Context, id, conversation string, data []byte) error {
					return l.post(ctx, c, id, conversation, data)
				})
			}
		})
	}
	l.t.Cleanup(l.end)
}

// send sends one event until it is taken.
func (l *diskLoad) send(ctx context.Context, once func(ctx context.Context, id, conversation string, data []byte) error) {
	l.mu.Lock()
	l.numbered++
	n := l.numbered
	l.mu.Unlock()
	id, conversation := fmt.Sprintf("event-%06d", n), fmt.Sprint("conversation-", n/20)
	values := map[string]string{"blob": strings.Repeat("x", rand.N(8<<10))}
	if n%100 == 0 { // from now on the document of the conversation is large
		values["keep"] = strings.Repeat("y", rand.N(120<<10))
	}
	data, err := json.Marshal(values)
	if err != nil {
		l.t.Error(err)
		return
	}
	for ctx.Err() == nil {
		if err := once(ctx, id, conversation, data); err == nil {
			l.mu.Lock()
			l.sent[id] = true
			l.mu.Unlock()
			return
		}
		l.pause(50 * time.Millisecond)
	}
}

func publishOne(ctx context.Context, js jetstream.JetStream, id, conversation string, data []byte) error {
	m := nats.NewMsg("IN")
	m.Header.Set(nats.MsgIdHdr, id)
	m.Header.Set("Eventd-Message-Type", "LOAD")
	m.Header.Set("Correlation-Id", conversation)
	m.Data = data
	_, err := js.PublishMsg(ctx, m)
	return err
}

func (l *diskLoad) post(ctx context.Context, c *client.Client, id, conversation string, data []byte) error {
	_, err := c.Send(ctx, wire.NewEvent{MessageType: "LOAD", EventID: id, CorrelationID: conversation, Payload: data})
	var refusal *client.Error
	if errors.As(err, &refusal) {
		if l.refused.Add(1); refusal.Status != http.StatusServiceUnavailable && refusal.Status != http.StatusInsufficientStorage {
			l.t.Errorf("the API answers %d: %v; want 503 or 507", refusal.Status, err)
		}
	}
	return err
}

func (l *diskLoad) pause(d time.Duration) {
	c, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	<-c.Done()
}

// end stops sending and waits until nothing is on its way.
func (l *diskLoad) end() {
	l.stop()
	l.work.Wait()
	l.conn.Close()
}

// moves waits until events go through, and reports whether they do.
func (l *diskLoad) moves() bool {
	count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.done) }
	before := count()
	for range 3 { // a disk that others keep busy may stand still for long
		if eventually(func() bool { return count() > before+100 }) {
			return true
		}
	}
	return false
}

// again returns how many events were handled more than once.
func (l *diskLoad) again() (n int) {
	for _, times := range l.done {
		if times > 1 {
			n++
		}
	}
	return n
}

// checkEnds holds that all that was taken was handled, that its follow-up is out,
// and that nothing is open or given up.
func (l *diskLoad) checkEnds(s *site) {
	l.t.Helper()
	var st wire.Status
	ended := func() bool {
		var err error
		st, err = s.client().Status(context.Background())
		return err == nil && open(st) == 0 && st.Store.Outbox == 0 && l.lost(s.followed("OUT")) == 0
	}
	for left, before := l.lost(s.followed("OUT")), -1; left != before && !eventually(ended); { // as long as it gets less
		before, left = left, l.lost(s.followed("OUT"))
	}
	if !ended() {
		out := s.followed("OUT")
		l.t.Errorf("%d of %d events are lost, %d of them were never handled; %d are open, %d in the outbox",
			l.lost(out), len(l.sent), l.lost(l.sent), open(st), st.Store.Outbox)
	}
	for table, byStatus := range st.Counts {
		for status, n := range byStatus {
			if status != "COMPLETED" && n > 0 {
				l.t.Errorf("%d events in %s are %s", n, table, status)
			}
		}
	}
}

// lost counts what was taken and not handled, or whose follow-up is not out.
func (l *diskLoad) lost(out map[string]bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.sent {
		if l.done[id] == 0 || !out[id] {
			n++
		}
	}
	return n
}

// followed returns the events whose follow-ups are in a stream.
func (s *site) followed(stream string) map[string]bool {
	s.t.Helper()
	conn, err := nats.Connect("nats://127.0.0.1:" + s.nats)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	of, err := js.Stream(ctx, stream)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := of.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		s.t.Fatal(err)
	}
	defer messages.Stop()
	found := map[string]bool{}
	for range of.CachedInfo().State.Msgs {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			s.t.Fatal(err)
		}
		var data struct{ Of string }
		if json.Unmarshal(bytes.TrimSpace(m.Data()), &data) == nil {
			found[data.Of] = true
		}
	}
	return found
}
