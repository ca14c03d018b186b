package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// site is a folder with a configuration, where eventd is started, ended and
// started again.
type site struct {
	t                    *testing.T
	dir                  string
	admin, metrics, nats string // ports
	log                  logBook
}

// newSite writes a configuration to which its listeners are added. It may say
// NATS where the port of the NATS server is to stand.
func newSite(t *testing.T, config string) *site {
	t.Helper()
	ports, err := freePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), admin: ports[0], metrics: ports[1], nats: ports[2]}
	config = strings.ReplaceAll(config, "NATS", "127.0.0.1:"+s.nats) +
		"\nadmin: {listen: 127.0.0.1:" + s.admin + "}\nmetrics: {listen: 127.0.0.1:" + s.metrics + "}\n"
	if err := os.WriteFile(filepath.Join(s.dir, "routes.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the daemon's log:\n%s", s.log.tail(15))
		}
	})
	return s
}

func (s *site) url(port, path string) string { return "http://127.0.0.1:" + port + path }

// client returns a client for the daemon's API.
func (s *site) client() *client.Client {
	s.t.Helper()
	c, err := client.New(s.url(s.admin, ""), "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// process is a running eventd.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts eventd. It is killed at the end of the test if it still runs.
func (s *site) start() *process {
	s.t.Helper()
	p := &process{t: s.t, cmd: exec.Command("eventd", "-config", "routes.yaml"), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr = s.dir, &s.log
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// up waits until the daemon answers; it need not be ready.
func (s *site) up(p *process) {
	s.t.Helper()
	if !eventually(func() bool {
		ok, _ := get(s.url(s.admin, "/livez"))
		return ok || p.over()
	}) || p.over() {
		s.t.Fatalf("eventd does not come up:\n%s", s.log.tail(20))
	}
}

// over reports whether the process has ended.
func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// kill ends the process at once, as the kernel or a power cut would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// ends waits for the end and wants an exit code.
func (p *process) ends(want int) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("eventd does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want {
		p.t.Fatalf("exit code %d; want %d", got, want)
	}
}

// logBook keeps what a process writes.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(b.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// open counts the events that have not ended.
func open(s wire.Status) (n int) {
	for _, byStatus := range s.Counts {
		for name, count := range byStatus {
			if status, err := event.ParseStatus(name); err == nil && !status.Final() {
				n += count
			}
		}
	}
	return n
}

// all returns every event of a table.
func (s *site) all(table string) []wire.Row {
	s.t.Helper()
	var rows []wire.Row
	q := client.Query{Table: table, Limit: perPage}
	for {
		page, err := s.client().List(context.Background(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		rows = append(rows, page.Events...)
		if page.NextCursor == "" {
			return rows
		}
		q.Cursor = page.NextCursor
	}
}

// startNATS starts a NATS server with JetStream in this process, on the site's
// port. Started again in the same folder it has what it had.
func (s *site) startNATS(change func(*server.Options)) *server.Server {
	s.t.Helper()
	port, err := strconv.Atoi(s.nats)
	if err != nil {
		s.t.Fatal(err)
	}
	o := &server.Options{
		ServerName: "external", Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(s.dir, "external"), SyncAlways: true,
	}
	if change != nil {
		change(o)
	}
	n, err := server.NewServer(o)
	if err != nil {
		s.t.Fatal(err)
	}
	n.Start()
	s.t.Cleanup(func() { endNATS(n) })
	if !n.ReadyForConnections(patience) {
		s.t.Fatal("the NATS server does not start")
	}
	return n
}

func endNATS(n *server.Server) {
	n.Shutdown()
	n.WaitForShutdown()
}

// interruptible is whether an error of the API may pass: the daemon was killed
// meanwhile.
func interruptible(err error) bool {
	var refusal *client.Error
	return err != nil && !errors.As(err, &refusal)
}
