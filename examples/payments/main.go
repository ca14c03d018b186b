// Command payments runs the payments example to its end: eventd, three services
// and two partners, each event of each flow in a table.
//
//	go run ./examples/payments            everything, in one command
//	go run ./examples/payments services   the three services alone
//	go run ./examples/payments partners   the partners alone, placing orders
//
// The last two are what compose.yaml runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	os.Exit(execute())
}

func execute() (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string) error {
	command := "demo"
	if len(args) > 0 && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	f := flag.NewFlagSet("payments "+command, flag.ContinueOnError)
	flows := f.Int("flows", 3, "how many orders upstream A places")
	keep := f.Bool("keep", false, "demo: let eventd run until you press Ctrl-C, to look around")
	listen := f.String("listen", "127.0.0.1:8080", "services: address")
	url := f.String("nats", "nats://127.0.0.1:4222", "partners: NATS server")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch command {
	case "demo":
		return demo(ctx, *flows, *keep)
	case "services":
		return serve(ctx, *listen)
	case "partners":
		return trade(ctx, *url, *flows)
	}
	return fmt.Errorf("no command is named %q (demo, services or partners)", command)
}

// serve runs the three services until ctx ends.
func serve(ctx context.Context, listen string) error {
	server := &http.Server{Addr: listen, Handler: newServices().mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// trade runs the partners: it places the orders, and goes on answering until
// ctx ends.
func trade(ctx context.Context, url string, flows int) error {
	p, err := connectPartners(ctx, url)
	if err != nil {
		return err
	}
	defer p.close()
	for i := range flows {
		o := newOrder(i)
		if err := p.order(ctx, o); err != nil {
			return err
		}
		fmt.Printf("ordered %s: %s pays %d.%02d\n", o.EventID, o.Account, o.Amount/100, o.Amount%100)
	}
	for {
		select {
		case a := <-p.answers:
			fmt.Printf("answered %s: %s\n", a.correlation, a.messageType)
		case <-ctx.Done():
			return nil
		}
	}
}

// newOrder makes the i-th order; every third is above the limit.
func newOrder(i int) order {
	return order{
		EventID: fmt.Sprintf("order-%s-%d", time.Now().UTC().Format("150405"), i+1),
		Account: fmt.Sprintf("DE-%04d", 1000+i), Amount: 12_50 + i%3*60_000,
	}
}
