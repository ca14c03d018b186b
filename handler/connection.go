package handler

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/eventd-io/eventd/envelope"
)

const (
	// maxReplyHeader bounds the headers of an answer, in bytes.
	maxReplyHeader = 256 << 10
	// together is the size in bytes up to which a payload is written with its
	// headers, and its answer looked for afterwards. What is larger may meet a
	// server that answers without having read it.
	together = 32 << 10
	// keptBuffer bounds what a connection keeps for the next request, in bytes.
	keptBuffer = 64 << 10
)

var (
	errLongHeader = errors.New("the headers of the answer are too long")
	errClosed     = errors.New("the connection was closed before there was a whole answer")
)

// connection is one to an endpoint, for one request at a time. A request is
// written once, on one connection, whatever happens.
type connection struct {
	net.Conn
	probe  *probe
	in     limitedReader
	reader *bufio.Reader
	body   replyBody
	plain  plainSpace
	since  time.Time // when it became idle

	fields  envelope.Fields // space for those of a request
	buffer  []byte          // space for a request
	writing chan error      // result of a payload that is written while the answer is read; nil for none
	broken  bool

	watched context.Context // closes it when it ends
	unwatch func() bool
}

// newConnection takes over a connection; socket is what lies below its
// encryption, or the connection itself.
func newConnection(c, socket net.Conn) *connection {
	x := &connection{Conn: c, probe: newProbe(socket), unwatch: func() bool { return true }}
	x.in = limitedReader{Reader: c, left: -1}
	x.reader = bufio.NewReader(&x.in)
	return x
}

// watch has the connection closed when ctx ends. Attempts share one context, so
// that this costs something on a new connection only.
func (c *connection) watch(ctx context.Context) {
	if c.watched == ctx {
		return
	}
	c.unwatch()
	c.watched = ctx
	c.unwatch = context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
}

func (c *connection) close() {
	c.unwatch()
	_ = c.Conn.Close()
	if c.writing != nil {
		c.broken = <-c.writing != nil // soon, for the connection is closed
	}
}

// exchange writes a request, whose head is in c.buffer, and reads its answer up
// to the body, which is in c.body then.
func (c *connection) exchange(payload []byte) (*http.Response, error) {
	if len(payload) > together {
		c.writeAside(payload)
		return c.readHead()
	}
	c.buffer = append(c.buffer, payload...)
	_, failed := c.Write(c.buffer)
	c.broken = failed != nil
	response, err := c.readHead() // after a failure, too: the server may have said why
	if err != nil && failed != nil {
		return nil, failed
	}
	return response, err
}

// writeAside writes the request while the answer is read already.
func (c *connection) writeAside(payload []byte) {
	c.writing = make(chan error, 1)
	go func() {
		parts := net.Buffers{c.buffer, payload}
		_, err := parts.WriteTo(c.Conn)
		c.writing <- err
	}()
}

var post = &http.Request{Method: http.MethodPost} // what an answer is read for

// readHead skips the answers before the last, which are for information only.
func (c *connection) readHead() (*http.Response, error) {
	c.in.left = maxReplyHeader
	defer func() { c.in.left = -1 }()
	if _, err := c.reader.Peek(1); err != nil {
		return nil, brokenOff(err)
	}
	if r := c.plainReply(); r != nil {
		return r, nil
	}
	for {
		r, err := http.ReadResponse(c.reader, post)
		if err != nil {
			return nil, brokenOff(err)
		}
		if r.StatusCode >= 200 || r.StatusCode == http.StatusSwitchingProtocols {
			c.body = replyBody{Reader: r.Body, ended: r.ContentLength == 0}
			return r, nil
		}
	}
}

// brokenOff returns what an error means that came instead of an answer's head.
func brokenOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errClosed
	}
	return err
}

// reusable reports whether another request may be sent after this answer.
func (c *connection) reusable(r *http.Response) bool {
	if c.writing != nil {
		select {
		case err := <-c.writing:
			c.writing, c.broken = nil, err != nil
		default:
			return false // answered before all of it was read
		}
	}
	if cap(c.buffer) > keptBuffer {
		c.buffer = nil
	}
	switching := r.StatusCode == http.StatusSwitchingProtocols // what follows is no HTTP
	return !c.broken && !switching && !r.Close && c.body.ended && c.reader.Buffered() == 0
}

// limitedReader fails once left bytes are read, unless left is negative.
type limitedReader struct {
	io.Reader
	left int
}

func (r *limitedReader) Read(b []byte) (int, error) {
	if r.left < 0 {
		return r.Reader.Read(b)
	}
	if r.left == 0 {
		return 0, errLongHeader
	}
	n, err := r.Reader.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

// replyBody knows whether it was read to its end. An early end is errClosed.
type replyBody struct {
	io.Reader
	ended bool
}

func (b *replyBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errClosed
	case errors.Is(err, io.EOF):
		b.ended = true
	}
	return n, err
}
