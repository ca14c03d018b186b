package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// patience bounds the whole example.
const patience = time.Minute

// world is everything the example runs.
type world struct {
	dir      string // holds the program, the store and the log
	admin    string
	nats     string
	eventd   *exec.Cmd
	exited   chan error // how eventd ended
	services *http.Server
}

// demo runs the example on free ports of this machine, in a folder of its own.
func demo(ctx context.Context, flows int, keep bool) error {
	w, err := build(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	if err := w.start(); err != nil {
		return err
	}
	defer w.stop()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := w.play(limited, flows); err != nil {
		return fmt.Errorf("%w\n%s", err, w.lastLog())
	}
	w.lookFurther(keep)
	if keep {
		<-ctx.Done()
	}
	return nil
}

// build compiles eventd next to the example's data.
func build(ctx context.Context) (*world, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, errors.New("run it inside the checkout: go run ./examples/payments")
	}
	dir, err := os.MkdirTemp("", "eventd-payments-")
	if err != nil {
		return nil, err
	}
	fmt.Println("building eventd…")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "eventd"), "./cmd/eventd")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	config, err := os.ReadFile(filepath.Join(cmd.Dir, "examples", "payments", "routes.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "routes.yaml"), config, 0o600)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &world{dir: dir, exited: make(chan error, 1)}, nil
}

// start brings up the services and eventd.
func (w *world) start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.services = &http.Server{Handler: newServices().mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = w.services.Serve(l) }()
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	w.admin, w.nats = ports[0], ports[1]
	log, err := os.Create(filepath.Join(w.dir, "eventd.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	w.eventd = exec.Command(filepath.Join(w.dir, "eventd"), "-config", filepath.Join(w.dir, "routes.yaml"))
	w.eventd.Stdout, w.eventd.Stderr = log, log
	w.eventd.Env = append(os.Environ(), "PAYMENTS_DATA="+filepath.Join(w.dir, "data"),
		"PAYMENTS_ADMIN="+w.admin, "PAYMENTS_NATS_LISTEN="+w.nats, "PAYMENTS_METRICS="+ports[2],
		"PAYMENTS_SERVICES="+l.Addr().String())
	if err := w.eventd.Start(); err != nil {
		return err
	}
	go func() { w.exited <- w.eventd.Wait() }()
	return nil
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

// stop ends what runs; eventd finishes what it is at.
func (w *world) stop() {
	_ = w.eventd.Process.Signal(os.Interrupt)
	select {
	case err := <-w.exited:
		if err != nil {
			fmt.Fprintln(os.Stderr, "eventd:", err)
		}
	case <-time.After(10 * time.Second):
		_ = w.eventd.Process.Kill()
	}
	_ = w.services.Close()
}

// play places the orders, waits for the answers, and shows what happened.
func (w *world) play(ctx context.Context, flows int) error {
	c, err := client.New("http://"+w.admin, "", nil)
	if err != nil {
		return err
	}
	if err := w.await(ctx, c); err != nil {
		return err
	}
	p, err := connectPartners(ctx, "nats://"+w.nats)
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Printf("eventd is ready; upstream A places %d orders\n", flows)
	waiting := map[string]bool{}
	for i := range flows {
		o := newOrder(i)
		waiting[o.EventID] = true
		if err := p.order(ctx, o); err != nil {
			return err
		}
	}
	for len(waiting) > 0 {
		select {
		case a := <-p.answers:
			if !waiting[a.correlation] {
				continue
			}
			delete(waiting, a.correlation)
			if err := show(ctx, c, a); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d orders have no answer after %s", len(waiting), flows, patience)
		}
	}
	return nil
}

// await returns once eventd is ready.
func (w *world) await(ctx context.Context, c *client.Client) error {
	for {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-w.exited:
			w.exited <- exit
			return fmt.Errorf("eventd ended: %w", exit)
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// show prints the events of one flow, oldest first, once all have ended.
func show(ctx context.Context, c *client.Client, a answer) error {
	rows, err := settled(ctx, c, a.correlation)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s: upstream A was told %s\n", a.correlation, a.messageType)
	t := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', 0)
	fmt.Fprintln(t, "  TABLE\tMESSAGE_TYPE\tSTATUS\tATTEMPTS\tHANDLER\tCREATED_BY\tUPDATED_BY\tEVENT_ID")
	for _, r := range rows {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
			r.Table, r.MessageType, r.Status, r.Attempts, r.Handler, r.CreatedBy, r.UpdatedBy, r.EventID)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	remembered, _, err := c.WorkingData(ctx, a.correlation)
	if err == nil {
		fmt.Printf("  remembered: %s\n", remembered)
	}
	return err
}

// settled returns the events of a conversation once none is on its way.
func settled(ctx context.Context, c *client.Client, correlation string) ([]wire.Row, error) {
	for {
		list, err := c.List(ctx, client.Query{CorrelationID: correlation, OldestFirst: true})
		if err != nil {
			return nil, err
		}
		open := false
		for _, r := range list.Events {
			open = open || r.Status != "COMPLETED" && r.Status != "ERROR" && r.Status != "FAILED"
		}
		if !open {
			return list.Events, nil
		}
		select {
		case <-ctx.Done():
			return list.Events, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *world) lookFurther(keep bool) {
	if !keep {
		fmt.Println("\nRETRY: SERVICE_C's ledger is busy at the first attempt of each debit, so DR_C_POST took two.")
		fmt.Println("To look around, keep it running:  go run ./examples/payments -keep")
		fmt.Println("and in another terminal:          go run ./cmd/eventd events list -admin URL   (it prints the URL)")
		return
	}
	fmt.Printf(`
eventd runs until you press Ctrl-C. In another terminal:

  export EVENTD_ADMIN=http://%s
  go run ./cmd/eventd events list                      # all events, newest first
  go run ./cmd/eventd events list -type DR_C_POST
  go run ./cmd/eventd correlation ORDER_ID             # a whole order: events, waiting times, what was remembered
  go run ./cmd/eventd events show EVENT_ID             # its rows, payloads and timeline

NATS is at nats://%s, the log in %s.
`, w.admin, w.nats, filepath.Join(w.dir, "eventd.log"))
}

// lastLog returns the end of eventd's log, for when something went wrong.
func (w *world) lastLog() string {
	b, err := os.ReadFile(filepath.Join(w.dir, "eventd.log"))
	if err != nil {
		return ""
	}
	return "the end of eventd's log:\n" + string(b[max(0, len(b)-4000):])
}
