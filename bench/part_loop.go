package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// runLoop is what one would write instead of using eventd, and write well: a
// bounded pull consumer, keep-alive, an ack after the answer. It records nothing.
func runLoop(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("loop", flag.ContinueOnError)
	url, target := f.String("nats", "", "address"), f.String("sink", "", "URL")
	workers := f.Int("workers", 64, "POSTs at the same time")
	if err := f.Parse(args); err != nil {
		return err
	}
	nc, err := nats.Connect("nats://" + *url)
	if err != nil {
		return err
	}
	defer nc.Close()
	messages, err := consume(ctx, nc)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, messages.Stop)
	return relay(messages, newClient(*workers), *target+"/", *workers)
}

func consume(ctx context.Context, nc *nats.Conn) (jetstream.MessagesContext, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	c, err := js.CreateOrUpdateConsumer(ctx, streamName, jetstream.ConsumerConfig{
		Durable: "loop", FilterSubject: subjectIn, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1024,
	})
	if err != nil {
		return nil, err
	}
	return c.Messages(jetstream.PullMaxMessages(512))
}

// newClient is an HTTP client for so many requests at the same time.
func newClient(workers int) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConns: workers, MaxIdleConnsPerHost: workers, MaxConnsPerHost: workers, DisableCompression: true,
	}}
}

// relay posts messages until there are no more to come.
func relay(messages jetstream.MessagesContext, client *http.Client, target string, workers int) error {
	queue := make(chan jetstream.Msg, workers)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for m := range queue {
				post(client, target, m)
			}
		})
	}
	defer running.Wait()
	defer close(queue)
	for {
		m, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		queue <- m
	}
}

func post(client *http.Client, target string, m jetstream.Msg) {
	res, err := client.Post(target, "application/json", bytes.NewReader(m.Data()))
	if err != nil {
		_ = m.NakWithDelay(time.Second)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode >= 300 {
		_ = m.NakWithDelay(time.Second)
		return
	}
	_ = m.Ack()
}
