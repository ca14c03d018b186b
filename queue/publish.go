package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/nats-io/nats.go"
)

// A subject that no stream captures is tried again, as the leader of a stream that
// moves does not answer for a moment.
const (
	unheardTries = 3
	unheardPause = 250 * time.Millisecond
)

// publishError is an error of which trying again is no use.
type publishError struct {
	message  string
	tooLarge bool
}

func (e *publishError) Error() string { return e.message }

// Permanent reports that trying again would not help.
func (e *publishError) Permanent() bool { return true }

// TooLarge reports that the server takes no message of that size.
func (e *publishError) TooLarge() bool { return e.tooLarge }

// Publish publishes a message and returns once the server has acknowledged it, or
// ctx has ended: nothing else bounds the time.
// While there is no connection it fails at once, and when that is lost before the
// acknowledgement is there: nothing is buffered. An error that has a method
// Permanent, and that says true, would come again; of one that is too large for the
// server its method TooLarge says true. After any other error the message may have
// been published all the same.
func (c *Conn) Publish(ctx context.Context, out *event.NATSMessage) error {
	m := c.message()
	defer c.release(m)
	if err := c.fill(m, out); err != nil {
		return err
	}
	err := c.publish(ctx, m)
	for try := 1; try < unheardTries && errors.Is(err, nats.ErrNoResponders); try++ {
		select {
		case <-time.After(unheardPause):
			err = c.publish(ctx, m)
		case <-ctx.Done():
			try = unheardTries
		}
	}
	if err != nil {
		return c.explain(err, "publish", &m.Msg)
	}
	return nil
}

// publish sends a message and waits for its PubAck.
func (c *Conn) publish(ctx context.Context, m *message) error {
	n, reply, err := c.acks.expect(c.nats, m.acked)
	if err != nil {
		return err
	}
	m.Reply = reply
	if err := c.nats.PublishMsg(&m.Msg); err != nil {
		c.acks.forget(n, m.acked)
		return err
	}
	select {
	case err := <-m.acked:
		return err
	case <-ctx.Done():
		c.acks.forget(n, m.acked)
		return fmt.Errorf("no PubAck: %w", ctx.Err())
	}
}

// noResponders is the error of a request that nobody listens for.
type noResponders struct{ error }

// NoResponders reports that nobody listens.
func (noResponders) NoResponders() bool { return true }

// Request sends a message and returns the reply to it. While there is no
// connection it fails at once. Errors are those of [Conn.Publish], and one whose
// method NoResponders says true when nobody listens on the subject.
func (c *Conn) Request(ctx context.Context, out *event.NATSMessage) (header map[string][]string, body []byte, err error) {
	m := c.message()
	defer c.release(m)
	if err := c.fill(m, out); err != nil {
		return nil, nil, err
	}
	if n := size(&m.Msg); int64(n) > c.nats.MaxPayload() { // the client keeps what it cannot send in mind
		return nil, nil, c.tooLarge(n)
	}
	reply, err := c.nats.RequestMsgWithContext(ctx, &m.Msg)
	switch {
	case err == nil:
		return reply.Header, reply.Data, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, nil, noResponders{err}
	default:
		return nil, nil, c.explain(err, "request", &m.Msg)
	}
}

// message is a message that is used again and again, with its headers.
type message struct {
	nats.Msg
	names  []string // of the headers
	values []string // what the lists in the map alias
	acked  chan error
}

// message returns one that nobody uses. The caller releases it.
func (c *Conn) message() *message {
	m, _ := c.messages.Get().(*message)
	if m == nil {
		m = &message{Msg: nats.Msg{Header: nats.Header{}}, acked: make(chan error, 1)}
	}
	return m
}

func (c *Conn) release(m *message) {
	clear(m.values)
	m.Data = nil
	c.messages.Put(m)
}

// shape makes a place for each header. Messages mostly have those of the one before.
func (m *message) shape(header []event.Field) {
	same := func(name string, f event.Field) bool { return name == f.Name }
	if slices.EqualFunc(m.names, header, same) {
		return
	}
	clear(m.Header)
	m.names, m.values = m.names[:0], make([]string, len(header))
	for i, f := range header {
		m.names = append(m.names, f.Name)
		m.Header[f.Name] = m.values[i : i+1 : i+1]
	}
}

// fill makes a message say what it is to say, and checks that there is a connection
// and what the protocol would refuse.
func (c *Conn) fill(m *message, out *event.NATSMessage) error {
	if !c.Connected() {
		return fmt.Errorf("send to %s: %w: %s", out.Subject, nats.ErrDisconnected, c.Problem())
	}
	if out.Subject == "" || strings.ContainsAny(out.Subject, "*> \t\r\n") {
		return &publishError{message: fmt.Sprintf("%q is no subject to publish on", out.Subject)}
	}
	m.Subject, m.Data = out.Subject, out.Body
	m.shape(out.Header)
	for i, f := range out.Header {
		if breaksLine(f.Value) || breaksLine(f.Name) || strings.IndexByte(f.Name, ':') >= 0 || strings.IndexByte(f.Name, ' ') >= 0 {
			return &publishError{message: fmt.Sprintf("header %q cannot be sent", f.Name)}
		}
		m.values[i] = f.Value
	}
	return nil
}

func breaksLine(s string) bool {
	return strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0
}

// size is what the server counts: headers and body.
func size(m *nats.Msg) int {
	n := len("NATS/1.0\r\n\r\n") + len(m.Data)
	for name, values := range m.Header {
		n += len(name) + len(values[0]) + len(": \r\n")
	}
	return n
}

func (c *Conn) tooLarge(size int) error {
	return &publishError{
		message:  fmt.Sprintf("%d bytes with headers; the server takes %d", size, c.nats.MaxPayload()),
		tooLarge: true,
	}
}

// explain says what an error of the client means for a message.
func (c *Conn) explain(err error, what string, m *nats.Msg) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return c.tooLarge(size(m))
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%s: no stream captures %s: %w", what, m.Subject, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded): // there is no such buffer
		return fmt.Errorf("%s to %s: %w: %s", what, m.Subject, nats.ErrDisconnected, c.Problem())
	default:
		return fmt.Errorf("%s to %s: %w", what, m.Subject, err)
	}
}
