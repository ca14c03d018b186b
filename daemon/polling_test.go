package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/nats-io/nats.go"
)

const pollingRoutes = `
retry: {default: {backoff: constant, initial: 10ms, jitter: 0}}
handlers:
  worker: {poll: {"nats": true}}
  done: {log: {}}
routes:
  - {message_type: JOB, handler: worker}
  - {message_type: DONE, handler: done}
`

// overHTTP returns a client that claims from the API.
func (p *product) overHTTP() *client.Client {
	p.t.Helper()
	c, err := client.New("http://"+p.admin, "", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// overNATS returns a client that claims over NATS.
func (p *product) overNATS() *client.Client {
	p.t.Helper()
	return natsClient(p.connect(), "SERVICE_A")
}

func (p *product) connect() *nats.Conn {
	p.t.Helper()
	nc, err := nats.Connect("nats://" + p.nats)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	return nc
}

func natsClient(nc *nats.Conn, application string) *client.Client {
	return client.NewNATS(application, func(ctx context.Context, subject string, header map[string][]string, body []byte) (map[string][]string, []byte, error) {
		m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
		if err != nil {
			return nil, nil, err
		}
		return m.Header, m.Data, nil
	})
}

// overBoth runs a test with claims over HTTP and over NATS.
func overBoth(t *testing.T, test func(p *product, c *client.Client)) {
	for name, over := range map[string]func(*product) *client.Client{"HTTP": (*product).overHTTP, "NATS": (*product).overNATS} {
		t.Run(name, func(t *testing.T) {
			p := run(t, pollingRoutes)
			c := over(p)
			c.Service = "WORKER"
			test(p, c)
		})
	}
}

// processor runs one until the test ends or stop is called.
func (p *product) processor(c *client.Client, x client.Processor) (stop func()) {
	p.t.Helper()
	x.Handler = "worker"
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Process(ctx, x) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
	p.t.Cleanup(stop)
	return stop
}

func (p *product) job(id string) {
	p.t.Helper()
	if _, err := p.Send(context.Background(), wire.NewEvent{MessageType: "JOB", EventID: id, Payload: json.RawMessage(`{"n":1}`)}); err != nil {
		p.t.Fatal(err)
	}
}

// TestProcessors handle what they claim, with follow-ups, failures that pass and
// failures that stay.
func TestProcessors(t *testing.T) { overBoth(t, testProcessors) }

func testProcessors(p *product, c *client.Client) {
	t := p.t
	var mu sync.Mutex
	tries := map[string]int{}
	x := client.Processor{Concurrency: 4, Handle: func(_ context.Context, e *wire.Claimed) ([]wire.NewEvent, error) {
		mu.Lock()
		defer mu.Unlock()
		id := e.Event.EventID
		tries[id]++
		switch {
		case id == "hopeless":
			return nil, client.Permanent(errors.New("no such account"))
		case id == "flaky" && tries[id] < 3:
			return nil, errors.New("not now")
		}
		return []wire.NewEvent{{MessageType: "DONE", EventID: "done-" + id, Payload: e.Payload}}, nil
	}}
	p.processor(c, x)
	p.processor(c, x)
	p.job("hopeless")
	p.job("flaky")
	for i := range 20 {
		p.job(fmt.Sprint("job", i))
	}
	if d := p.await("hopeless", "ERROR"); d.Rows[0].Reason != "rejected" || d.Timeline[len(d.Timeline)-1].Detail != "no such account" {
		t.Errorf("hopeless: %s, %+v", d.Rows[0].Reason, d.Timeline)
	}
	if d := p.await("flaky", "COMPLETED"); d.Rows[0].Attempts != 3 || d.Rows[0].UpdatedBy != "WORKER" {
		t.Errorf("flaky: %d attempts, by %s; want 3 by WORKER", d.Rows[0].Attempts, d.Rows[0].UpdatedBy)
	}
	for i := range 20 {
		p.await(fmt.Sprint("job", i), "COMPLETED")
		if d := p.await(fmt.Sprint("done-job", i), "COMPLETED"); d.Rows[0].CorrelationID != fmt.Sprint("job", i) {
			t.Errorf("follow-up %d belongs to %s", i, d.Rows[0].CorrelationID)
		}
	}
}

// TestProcessorKeepsItsLease while it works for longer, and gives the event back
// when it is stopped.
func TestProcessorKeepsItsLease(t *testing.T) { overBoth(t, testProcessorKeepsItsLease) }

func testProcessorKeepsItsLease(p *product, c *client.Client) {
	t := p.t
	begun := make(chan int, 10)
	stop := p.processor(c, client.Processor{
		Lease: time.Second, OnError: func(err error) { t.Error(err) },
		Handle: func(ctx context.Context, e *wire.Claimed) ([]wire.NewEvent, error) {
			begun <- e.Attempt
			if e.Event.EventID == "long" {
				time.Sleep(1500 * time.Millisecond) // half as long again as the lease
				return nil, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	p.job("long")
	if d := p.await("long", "COMPLETED"); d.Rows[0].Attempts != 1 {
		t.Errorf("long took %d attempts; want 1", d.Rows[0].Attempts)
	}
	<-begun
	p.job("endless")
	<-begun
	stop()
	if d := p.await("endless", "UNPROCESSED"); d.Rows[0].Attempts != 0 {
		t.Errorf("given back it has %d attempts; want 0", d.Rows[0].Attempts)
	}
}
