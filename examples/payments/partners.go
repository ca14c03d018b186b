package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// partners are the systems outside: upstream A, which orders and waits for the
// answer, and downstream B, which executes.
type partners struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	answers chan answer
	stop    []func()
}

// answer is what upstream A was told.
type answer struct{ correlation, messageType string }

func connectPartners(ctx context.Context, url string) (*partners, error) {
	nc, err := nats.Connect(url, nats.Name("payments-partners"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	p := &partners{conn: nc, js: js, answers: make(chan answer, 1024)}
	if err := p.listen(ctx, "REQUEST_TOPIC_B", "downstream-b", p.downstreamB); err != nil {
		p.close()
		return nil, err
	}
	if err := p.listen(ctx, "RESPONSE_TOPIC_A1", "upstream-a1", p.upstreamA); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// listen receives a subject durably. The stream is made by eventd.
func (p *partners) listen(ctx context.Context, subject, durable string, take func(jetstream.Msg) error) error {
	stream, err := p.streamOf(ctx, subject)
	if err != nil {
		return err
	}
	consumer, err := p.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durable, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return fmt.Errorf("consumer %s: %w", durable, err)
	}
	running, err := consumer.Consume(func(m jetstream.Msg) {
		if err := take(m); err != nil {
			_ = m.NakWithDelay(time.Second)
			return
		}
		_ = m.Ack()
	})
	if err != nil {
		return fmt.Errorf("consume %s: %w", subject, err)
	}
	p.stop = append(p.stop, running.Stop)
	return nil
}

// streamOf waits until a stream captures the subject.
func (p *partners) streamOf(ctx context.Context, subject string) (string, error) {
	for {
		name, err := p.js.StreamNameBySubject(ctx, subject)
		if err == nil {
			return name, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no stream captures %s: %w", subject, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// order publishes an order of upstream A.
func (p *partners) order(ctx context.Context, o order) error {
	o.MessageType = "RQ_A_INIT"
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = p.js.Publish(ctx, "REQUEST_TOPIC_A1", body, jetstream.WithMsgID(o.EventID))
	return err
}

// downstreamB executes what it is asked for and answers under the same event id.
func (p *partners) downstreamB(m jetstream.Msg) error {
	var o order
	if err := json.Unmarshal(m.Data(), &o); err != nil {
		return err
	}
	o.EventID = m.Headers().Get("ce-id")
	o.MessageType, o.Accepted = "RS_B_OK", true
	if m.Headers().Get("ce-type") == "RQ_B_REJ" {
		o.MessageType, o.Accepted = "RS_B_REJ", false
	}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = p.js.Publish(ctx, "RESPONSE_TOPIC_B", body)
	return err
}

func (p *partners) upstreamA(m jetstream.Msg) error {
	select {
	case p.answers <- answer{m.Headers().Get("ce-correlationid"), m.Headers().Get("ce-type")}:
	default: // nobody waits for it
	}
	return nil
}

func (p *partners) close() {
	for _, stop := range p.stop {
		stop()
	}
	p.conn.Close()
}
