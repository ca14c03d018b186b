package queue_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/queue"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

var outStream = queue.Stream{Name: "OUT", Subjects: []string{"OUT", "OUT.*"}}

func TestPublish(t *testing.T) {
	x := newRig(t, outStream)
	for name, c := range map[string]struct {
		p                   event.NATSMessage
		ok, permanent, size bool
	}{
		"fine":             {p: event.NATSMessage{Subject: "OUT", Body: []byte("x"), Header: []event.Field{{Name: "A", Value: "b"}}}, ok: true},
		"too large":        {p: event.NATSMessage{Subject: "OUT", Body: make([]byte, 2<<20)}, permanent: true, size: true},
		"too large header": {p: event.NATSMessage{Subject: "OUT", Header: []event.Field{{Name: "A", Value: strings.Repeat("b", 2<<20)}}}, permanent: true, size: true},
		"wildcard":         {p: event.NATSMessage{Subject: "OUT.*"}, permanent: true},
		"empty subject":    {p: event.NATSMessage{}, permanent: true},
		"line break":       {p: event.NATSMessage{Subject: "OUT", Header: []event.Field{{Name: "A", Value: "b\r\nC: d"}}}, permanent: true},
		"no stream":        {p: event.NATSMessage{Subject: "NOWHERE"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := x.Publish(context.Background(), &c.p)
			if (err == nil) != c.ok {
				t.Fatalf("Publish = %v; want success %t", err, c.ok)
			}
			var permanent interface{ Permanent() bool }
			if got := errors.As(err, &permanent) && permanent.Permanent(); got != c.permanent {
				t.Errorf("permanent = %t for %v; want %t", got, err, c.permanent)
			}
			var large interface{ TooLarge() bool }
			if got := errors.As(err, &large) && large.TooLarge(); got != c.size {
				t.Errorf("too large = %t for %v; want %t", got, err, c.size)
			}
		})
	}
}

func TestNothingIsBufferedWithoutAConnection(t *testing.T) {
	c, err := queue.Open(context.Background(), queue.Options{Name: "test", URL: "nats://" + freeAddress(t), Log: zerolog.Nop()})
	if err != nil {
		t.Fatalf("Open without a server = %v; want no error", err)
	}
	defer c.Close(context.Background())
	if c.Connected() || c.Problem() == "" {
		t.Errorf("connected = %t, problem %q; want a problem", c.Connected(), c.Problem())
	}
	err = c.Publish(context.Background(), &event.NATSMessage{Subject: "OUT", Header: []event.Field{{Name: "A", Value: "b"}}})
	if !errors.Is(err, nats.ErrDisconnected) || strings.HasSuffix(err.Error(), ": ") { // the words change with each try
		t.Errorf("Publish without a server = %v; want an error at once that says why", err)
	}
}

func TestOutboxIsDrained(t *testing.T) {
	x := newRig(t)
	s := &store{rows: []event.Publication{
		{ID: 1, Subject: "OUT", Body: []byte("one"), Header: map[string]string{"eventd-event-id": "e1"}},
		{ID: 2, Subject: "OUT", Body: make([]byte, 2<<20), Header: map[string]string{"eventd-event-id": "e2"}},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	wake := make(chan struct{}, 1)
	go func() { done <- x.DrainOutbox(ctx, s, wake) }()
	defer func() { cancel(); <-done }()
	// No stream captures the subject yet: both rows must stay.
	x.eventually(func() error {
		if rows, _ := s.Outbox(ctx, 0, 10); len(rows) != 2 {
			t.Fatalf("%d rows before there is a stream; want 2", len(rows))
		}
		return nil
	})
	x.SetStreams(ctx, []queue.Stream{outStream})
	x.eventually(func() error {
		if rows, _ := s.Outbox(ctx, 0, 10); len(rows) > 0 {
			return errors.New("rows are left in the outbox")
		}
		return nil
	})
	stream, err := x.js.Stream(ctx, "OUT")
	if err != nil {
		t.Fatal(err)
	}
	bodies, omitted := 0, 0
	for seq := uint64(1); seq <= 2; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "one" {
			bodies++
		}
		if strings.Contains(m.Header.Get("eventd-payload"), "/v1/events/e2/payload") && len(m.Data) == 0 {
			omitted++
		}
	}
	if bodies != 1 || omitted != 1 {
		t.Errorf("%d whole and %d without body; want one of each", bodies, omitted)
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = queue.Open(context.Background(), queue.Options{
		Embedded: &queue.Embedded{Dir: t.TempDir(), Listen: l.Addr().String()}, Log: zerolog.Nop(),
	})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Open on a port in use = %v; want an error that says so", err)
	}
}
