package handler

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// idleTimeout is below the five seconds after which common servers close an
// idle connection: a request that meets the closing one fails, since it is
// never sent twice.
const idleTimeout = 4 * time.Second

// noTime is too short for a farewell to have come since the answer before: a
// connection that was idle for less is not looked at again.
const noTime = 50 * time.Microsecond

// pool keeps the idle connections to an endpoint. How many there are in all is
// up to those who use it.
type pool struct {
	network, address string
	tls              *tls.Config // nil without encryption

	mu     sync.Mutex
	idle   []*connection // the one used last at the end
	reaper *time.Timer   // nil when nothing is idle
	closed bool
}

// newPool returns a pool without connections. With a socket, all go there,
// whatever the scheme and the host say.
func newPool(socket, scheme, host string, o TLSOptions) (*pool, error) {
	if socket != "" {
		return &pool{network: "unix", address: socket}, nil
	}
	p := &pool{network: "tcp", address: host}
	name, port, err := net.SplitHostPort(host)
	if err != nil || port == "" {
		name = strings.Trim(strings.TrimSuffix(host, ":"), "[]")
		p.address = net.JoinHostPort(name, scheme) // a port has the name of its service
	}
	if scheme == "https" {
		if p.tls, err = o.config(name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// get returns a connection that the other side has not closed so far. Before
// the deadline the request and its answer must be done. Put or close it.
func (p *pool) get(ctx context.Context, deadline time.Time) (*connection, error) {
	for c := p.pop(); c != nil; c = p.pop() {
		c.watch(ctx)
		if c.SetDeadline(deadline) == nil && (time.Since(c.since) < noTime || c.probe.quiet()) {
			return c, nil
		}
		c.close()
	}
	c, err := p.dial(ctx, deadline)
	if err != nil {
		return nil, err
	}
	c.watch(ctx)
	return c, c.SetDeadline(deadline)
}

func (p *pool) pop() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	c := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	return c
}

func (p *pool) dial(ctx context.Context, deadline time.Time) (*connection, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	dialer := net.Dialer{KeepAlive: 15 * time.Second}
	socket, err := dialer.DialContext(ctx, p.network, p.address)
	if err != nil {
		return nil, err
	}
	if p.tls == nil {
		return newConnection(socket, socket), nil
	}
	c := tls.Client(socket, p.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = socket.Close()
		return nil, err
	}
	return newConnection(c, socket), nil
}

// put takes a connection back.
func (p *pool) put(c *connection) {
	c.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(idleTimeout, p.reap)
	}
}

// reap closes what was idle for too long.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	old := 0
	for old < len(p.idle) && now.Sub(p.idle[old].since) >= idleTimeout {
		p.idle[old].close()
		old++
	}
	p.idle = slices.Delete(p.idle, 0, old)
	p.reaper = nil
	if len(p.idle) > 0 {
		p.reaper = time.AfterFunc(idleTimeout-now.Sub(p.idle[0].since), p.reap)
	}
}

// close closes what is idle, and what is put back later.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
	if p.reaper != nil {
		p.reaper.Stop()
	}
}
