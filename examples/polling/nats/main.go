// Command nats is a worker that speaks NATS alone: it takes events of the handler
// "printer" until it is interrupted.
//
//	eventd -config examples/polling/routes.yaml
//	eventd send -type PRINT -data '{"text": "hello"}'
//	go run ./examples/polling/nats
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

func work(ctx context.Context) error {
	nc, err := nats.Connect(nats.DefaultURL, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	c := client.NewNATS("PRINTING", func(ctx context.Context, subject string, header map[string][]string, body []byte) (map[string][]string, []byte, error) {
		m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
		if err != nil {
			return nil, nil, err
		}
		return m.Header, m.Data, nil
	})
	c.Service = fmt.Sprint("worker-", os.Getpid())
	return c.Process(ctx, client.Processor{
		Handler: "printer", Concurrency: 2, Handle: handle,
		OnError: func(err error) { fmt.Fprintln(os.Stderr, err) },
	})
}

// handle prints the text of an event and says how many pages that took.
func handle(_ context.Context, e *wire.Claimed) ([]wire.NewEvent, error) {
	var job struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(e.Payload, &job); err != nil {
		return nil, client.Permanent(err) // trying again would not help
	}
	fmt.Println(job.Text)
	return []wire.NewEvent{{MessageType: "PRINTED", Payload: json.RawMessage(`{"pages": 1}`)}}, nil
}
