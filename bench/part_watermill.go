package main

import (
	"context"
	"flag"
	"net/http"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	wmhttp "github.com/ThreeDotsLabs/watermill-http/v2/pkg/http"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// runWatermill is watermill as its documentation shows it: a durable queue
// subscription to JetStream, so many subscribers, its router and its HTTP
// publisher.
func runWatermill(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("watermill", flag.ContinueOnError)
	url, target := f.String("nats", "", "address"), f.String("sink", "", "URL")
	workers := f.Int("workers", 64, "POSTs at the same time")
	if err := f.Parse(args); err != nil {
		return err
	}
	subscriber, err := subscribe("nats://"+*url, *workers)
	if err != nil {
		return err
	}
	publisher, err := wmhttp.NewPublisher(wmhttp.PublisherConfig{MarshalMessageFunc: marshal, Client: newClient(*workers)}, wm.NopLogger{})
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, wm.NopLogger{})
	if err != nil {
		return err
	}
	router.AddHandler("bench", subjectIn, subscriber, *target+"/", publisher,
		func(m *message.Message) ([]*message.Message, error) { return []*message.Message{m}, nil })
	return router.Run(ctx)
}

func subscribe(url string, workers int) (message.Subscriber, error) {
	return wmnats.NewSubscriber(wmnats.SubscriberConfig{
		URL: url, QueueGroupPrefix: "watermill", SubscribersCount: workers, Unmarshaler: &wmnats.NATSMarshaler{},
		JetStream: wmnats.JetStreamConfig{
			DurablePrefix: "watermill", AckAsync: true,
			SubscribeOptions: []nats.SubOpt{nats.DeliverAll(), nats.AckExplicit(), nats.ManualAck(), nats.MaxAckPending(1024)},
		},
	}, wm.NopLogger{})
}

// marshal sends the body as it is, with a type that the loop sends too.
func marshal(url string, m *message.Message) (*http.Request, error) {
	req, err := wmhttp.DefaultMarshalMessageFunc(url, m)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}
