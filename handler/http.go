package handler

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
	"golang.org/x/net/http/httpguts"
)

// DefaultTimeout is that of handlers which name none.
const DefaultTimeout = 10 * time.Second

// HTTPOptions configure an [HTTP]. One of URL and Socket is set.
type HTTPOptions struct {
	URL     string // http or https; userinfo in it becomes basic authentication
	Socket  string // path of a unix socket
	Path    string // of the request over the socket; default /
	Timeout time.Duration
	Format  envelope.Format
	Headers map[string]string // sent with each request; they win over those of the event. Host is settable
	RetryOn []string          // see [ParseRetryOn]
	Source  string            // CloudEvents source of events that came without one
	TLS     TLSOptions        // for an https URL
	Signer  Signer            // of every request; nil for none
	Async   time.Duration     // 202 takes an event over for so long; 0: it handles it
}

// HTTP posts events to an endpoint, over HTTP/1.1.
//
// It keeps its connections itself and writes every request once: the clients
// there are send some of them again on their own when a connection turns out to
// be closed, and over HTTP/2 when the server refuses a stream, so that
// executions would exceed the attempts on record.
type HTTP struct {
	pool    *pool
	first   []byte // the request line and the headers that all requests have
	fixed   http.Header
	host    string // and port
	target  string
	socket  bool
	timeout time.Duration
	format  envelope.Format
	source  string
	retryOn *RetryOn
	signer  Signer
	async   time.Duration
}

// NewHTTP returns a handler that has no connection yet. Close it after use.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	h := &HTTP{timeout: o.Timeout, format: o.Format, source: o.Source, socket: o.Socket != "", signer: o.Signer, async: o.Async}
	if h.timeout <= 0 {
		h.timeout = DefaultTimeout
	}
	u, err := endpoint(o)
	if err != nil {
		return nil, err
	}
	h.target = target(o, u)
	if h.retryOn, err = ParseRetryOn(o.RetryOn); err != nil {
		return nil, err
	}
	if h.fixed, err = fixedHeaders(o.Headers, "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Upgrade", "Expect"); err != nil {
		return nil, err
	}
	h.setUser(u)
	host, err := hostOf(u)
	if err != nil {
		return nil, err
	}
	if h.pool, err = newPool(o.Socket, u.Scheme, host, o.TLS); err != nil {
		return nil, err
	}
	h.host, h.first = host, h.beginning(u, host)
	return h, nil
}

// hostOf returns the host and port of a URL as they go over the wire: without
// zone, and with what is not ASCII encoded.
func hostOf(u *url.URL) (string, error) {
	host, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil {
		return "", fmt.Errorf("the host %q of the URL cannot be looked up", u.Host)
	}
	return host, nil
}

// beginning returns the request line and the headers that all requests have.
func (h *HTTP) beginning(u *url.URL, host string) []byte {
	if fixed := h.fixed.Get("Host"); fixed != "" {
		host = fixed
	}
	if zone := strings.IndexByte(host, '%'); zone >= 0 && strings.HasPrefix(host, "[") {
		host = host[:zone] + host[strings.LastIndexByte(host, ']'):]
	}
	b := []byte("POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + host + "\r\n")
	for name, values := range h.fixed {
		if name != "Host" {
			b = appendHeader(b, name, values[0])
		}
	}
	return b
}

// endpoint returns the URL to post to.
func endpoint(o HTTPOptions) (*url.URL, error) {
	if (o.URL == "") == (o.Socket == "") {
		return nil, errors.New("a URL or a socket is needed, and not both")
	}
	if o.Socket != "" {
		u, err := url.ParseRequestURI("http://localhost/" + strings.TrimPrefix(o.Path, "/"))
		if err != nil {
			return nil, fmt.Errorf("path %q cannot be requested", o.Path)
		}
		return u, nil
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, errors.New("the URL cannot be read") // the error would repeat it, with its secrets
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %q of the URL is neither http nor https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host")
	}
	return u, nil
}

// setUser moves the userinfo of the URL into a header.
func (h *HTTP) setUser(u *url.URL) {
	if u.User == nil {
		return
	}
	password, _ := u.User.Password()
	if h.fixed.Get("Authorization") == "" {
		plain := u.User.Username() + ":" + password
		h.fixed.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(plain)))
	}
	u.User = nil
}

// Kind returns "http" or "unix".
func (h *HTTP) Kind() string {
	if h.socket {
		return "unix"
	}
	return "http"
}

// Target returns the endpoint for people: without user, password and query.
func (h *HTTP) Target() string { return h.target }

func target(o HTTPOptions, u *url.URL) string {
	if o.Socket == "" {
		return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	}
	if u.Path == "/" {
		return o.Socket
	}
	return o.Socket + ":" + u.EscapedPath()
}

// Close closes idle connections. Those in use end with their attempt.
func (h *HTTP) Close() { h.pool.close() }

// Deliver posts the event once.
func (h *HTTP) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	start := time.Now()
	answer := h.exchange(ctx, a, start.Add(h.timeout))
	answer.Took = time.Since(start)
	return answer
}

func (h *HTTP) exchange(ctx context.Context, a *event.Attempt, deadline time.Time) event.Answer {
	c, err := h.pool.get(ctx, deadline)
	if err != nil {
		return broken(ctx, h.timeout, err)
	}
	var payload []byte
	c.fields, payload = envelope.Encode(c.fields, a, h.format, h.source)
	return h.send(ctx, c, payload, h)
}

// reader says what an answer means. An error is one of the connection.
type reader interface {
	read(response *http.Response, body io.Reader) (event.Answer, error)
}

// send makes a request, whose own headers are in c.fields, has its answer read,
// and lets go of the connection.
func (h *HTTP) send(ctx context.Context, c *connection, payload []byte, r reader) event.Answer {
	if h.signer != nil {
		c.fields = signed(c.fields, h.signer, payload)
	}
	c.buffer = h.head(c.buffer[:0], c.fields, len(payload))
	response, err := c.exchange(payload) //nolint:bodyclose // the body is read to its end, or the connection closed
	if err != nil {
		c.close()
		return broken(ctx, h.timeout, err)
	}
	answer, err := r.read(response, &c.body)
	// An answer that breaks off says nothing of success: a server that fails
	// half-way has sent its status before. A failure it stays either way.
	if err != nil && (answer.Outcome == event.Done || answer.Outcome == event.Taken) {
		answer = broken(ctx, h.timeout, err)
		answer.Code = response.StatusCode
	}
	if c.reusable(response) {
		h.pool.put(c)
	} else {
		c.close()
	}
	return answer
}

// read implements [reader] for one event.
func (h *HTTP) read(response *http.Response, body io.Reader) (answer event.Answer, err error) {
	answer = classify(response.StatusCode, response.Header, h.retryOn, time.Now())
	if response.StatusCode == http.StatusAccepted && h.async > 0 {
		answer.Outcome, answer.Lease = event.Taken, h.async
	}
	switch {
	case response.StatusCode == http.StatusSwitchingProtocols: // what follows is no HTTP
	case response.StatusCode == http.StatusOK && envelope.IsCloudEvent(response.Header):
		err = readFollowUps(response, body, &answer)
	default:
		answer.Detail, err = readDetail(response, body)
	}
	return answer, err
}

// head appends everything of a request that stands before its payload.
func (h *HTTP) head(b []byte, fields envelope.Fields, length int) []byte {
	b = append(b, h.first...)
	agent := h.fixed["User-Agent"] != nil
	for _, f := range fields {
		if h.fixed[f.Name] == nil {
			b = appendHeader(b, f.Name, f.Value)
			agent = agent || f.Name == "User-Agent"
		}
	}
	if !agent {
		b = appendHeader(b, "User-Agent", "eventd")
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	return append(b, "\r\n\r\n"...)
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}
