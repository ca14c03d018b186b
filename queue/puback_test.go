package queue_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/queue"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// listen answers what comes to a subject, without a stream.
func (x *rig) listen(subject string, answer func(m *nats.Msg)) {
	x.t.Helper()
	nc := x.js.Conn()
	if _, err := nc.Subscribe(subject, answer); err != nil {
		x.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		x.t.Fatal(err)
	}
}

func TestPubAcks(t *testing.T) {
	x := newRig(t)
	x.listen("ack", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	for answer, want := range map[string]string{
		`{"stream":"S","seq":12}`:                           "",
		`{"stream":"S", "seq":12, "duplicate": true}`:       "",
		`{"stream":"S","seq":1,"domain":"hub"}`:             "",
		`{"seq":12}`:                                        "invalid jetstream publish response",
		`{"stream":"","seq":0}`:                             "invalid jetstream publish response",
		`{"stream":"S","seq":12`:                            "invalid jetstream publish response",
		`+OK`:                                               "invalid jetstream publish response",
		`{"error":null,"stream":"S","seq":0}`:               "",
		`{"error":{"code":503,"description":"it is full"}}`: "it is full",
		`{"error":{"code":503,"err_code":10077,"description":"it is full"},"stream":"S","seq":0}`: "it is full",
	} {
		err := x.Publish(context.Background(), &event.NATSMessage{Subject: "ack", Body: []byte(answer)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v; want none", answer, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v; want %q", answer, err, want)
		}
	}
}

// TestPubAckOfAnother: what says of one message that it is stored, late or twice,
// says nothing of another.
func TestPubAckOfAnother(t *testing.T) {
	x := newRig(t)
	var (
		mu   sync.Mutex
		late []*nats.Msg
	)
	x.listen("late", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		late = append(late, m)
	})
	x.listen("twice", func(m *nats.Msg) {
		for range 2 {
			_ = m.Respond([]byte(`{"stream":"S","seq":1}`))
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range late {
			_ = m.Respond([]byte(`{"stream":"S","seq":1}`))
		}
	})
	x.listen("never", func(*nats.Msg) {})
	for range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		if err := x.Publish(ctx, &event.NATSMessage{Subject: "late"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("nobody acknowledges: %v", err)
		}
		cancel()
		if err := x.Publish(context.Background(), &event.NATSMessage{Subject: "twice"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(context.Background(), 5*time.Millisecond)
		if err := x.Publish(ctx, &event.NATSMessage{Subject: "never"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("what others were acknowledged with counts for a message that was not: %v", err)
		}
		cancel()
	}
}

// TestSubjectIsHeardLater: the leader of a stream that moves does not answer for a
// moment.
func TestSubjectIsHeardLater(t *testing.T) {
	x := newRig(t)
	var tries atomic.Int32
	x.listen("later", func(m *nats.Msg) {
		if tries.Add(1) < 3 {
			nobody := nats.NewMsg(m.Reply) // as the server says it
			nobody.Header.Set("Status", "503")
			_ = m.RespondMsg(nobody)
			return
		}
		_ = m.Respond([]byte(`{"stream":"S","seq":1}`))
	})
	if err := x.Publish(context.Background(), &event.NATSMessage{Subject: "later"}); err != nil || tries.Load() != 3 {
		t.Errorf("Publish = %v after %d tries; want the third to be heard", err, tries.Load())
	}
	tries.Store(-10)
	if err := x.Publish(context.Background(), &event.NATSMessage{Subject: "later"}); !errors.Is(err, nats.ErrNoResponders) || tries.Load() != -7 {
		t.Errorf("Publish = %v after %d tries; want that nobody hears it after three", err, tries.Load()+10)
	}
}

// TestHeadersOfEachMessage: messages are used again, with the headers of the next.
func TestHeadersOfEachMessage(t *testing.T) {
	x := newRig(t)
	headers := make(chan nats.Header, 1)
	x.listen("headers", func(m *nats.Msg) {
		headers <- m.Header
		_ = m.Respond([]byte(`{"stream":"S","seq":1}`))
	})
	for _, list := range [][]event.Field{
		{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}},
		{{Name: "A", Value: "3"}, {Name: "B", Value: "4"}},
		{{Name: "B", Value: "5"}},
		{},
		{{Name: "B", Value: "6"}, {Name: "A", Value: "7"}, {Name: "C", Value: "8"}},
		{{Name: "B", Value: "9"}, {Name: "bad name", Value: "x"}, {Name: "C", Value: "x"}},
		{{Name: "B", Value: "10"}, {Name: "D", Value: "11"}},
	} {
		err := x.Publish(context.Background(), &event.NATSMessage{Subject: "headers", Header: list})
		if len(list) > 1 && list[1].Name == "bad name" {
			if err == nil {
				t.Error("a bad header is published")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got := <-headers
		if len(got) != len(list) {
			t.Errorf("headers %v; want %v", got, list)
		}
		for _, f := range list {
			if got.Get(f.Name) != f.Value {
				t.Errorf("headers %v; want %v", got, list)
			}
		}
	}
}

// TestConnectionLostBeforePubAck: who waits is told at once.
func TestConnectionLostBeforePubAck(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	c, err := queue.Open(context.Background(), queue.Options{Name: "test", URL: s.ClientURL(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	nc, err := nats.Connect(s.ClientURL(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("held")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() { published <- c.Publish(context.Background(), &event.NATSMessage{Subject: "held"}) }()
	if _, err := sub.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	select {
	case err := <-published:
		if !errors.Is(err, nats.ErrDisconnected) {
			t.Errorf("Publish = %v; want that the connection is lost", err)
		}
	case <-time.After(patience):
		t.Error("Publish waits on, without a connection")
	}
}
