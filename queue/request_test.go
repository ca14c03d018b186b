package queue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/nats-io/nats.go"
)

func TestRequest(t *testing.T) {
	x := newRig(t)
	nc, err := nats.Connect("nats://" + x.address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("ledger.post", func(m *nats.Msg) {
		r := nats.NewMsg(m.Reply)
		r.Header.Set("ce-id", "re-"+m.Header.Get("ce-id"))
		r.Data = append([]byte("re: "), m.Data...)
		_ = m.RespondMsg(r)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("hung", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	header, body, err := x.Request(ctx, &event.NATSMessage{Subject: "ledger.post", Header: []event.Field{{Name: "ce-id", Value: "1"}}, Body: []byte("x")})
	if err != nil || string(body) != "re: x" || header["ce-id"][0] != "re-1" {
		t.Errorf("Request = %v, %s, %v", header, body, err)
	}
	_, _, err = x.Request(ctx, &event.NATSMessage{Subject: "nobody"})
	var nobody interface{ NoResponders() bool }
	if !errors.As(err, &nobody) || !nobody.NoResponders() {
		t.Errorf("nobody listens: %v", err)
	}
	soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, _, err = x.Request(soon, &event.NATSMessage{Subject: "hung"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no reply: %v; want a deadline", err)
	}
	var permanent interface{ Permanent() bool }
	if _, _, err = x.Request(ctx, &event.NATSMessage{Subject: "a.*"}); !errors.As(err, &permanent) || !permanent.Permanent() {
		t.Errorf("a wildcard: %v; want a permanent error", err)
	}
}
