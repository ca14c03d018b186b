package handler

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// Defaults of handlers.
const (
	DefaultTimeout     = 10 * time.Second
	DefaultConcurrency = 64
)

// HTTPOptions configure an [HTTP]. One of URL and Socket is set.
type HTTPOptions struct {
	URL         string // http or https; userinfo in it becomes basic authentication
	Socket      string // path of a unix socket
	Path        string // of the request over the socket; default /
	Timeout     time.Duration
	Concurrency int // most connections
	Format      envelope.Format
	Headers     map[string]string // sent with each request; they win over those of the event. Host is settable
	RetryOn     []string          // see [ParseRetryOn]
	Source      string            // CloudEvents source of events that came without one
}

// HTTP posts events to an endpoint.
type HTTP struct {
	transport *http.Transport
	request   http.Request // what all requests have in common
	fixed     http.Header
	target    string
	socket    bool
	timeout   time.Duration
	format    envelope.Format
	source    string
	retryOn   *RetryOn
}

// NewHTTP returns a handler that has no connection yet. Close it after use.
func NewHTTP(o HTTPOptions) (*HTTP, error) {
	h := &HTTP{timeout: o.Timeout, format: o.Format, source: o.Source, socket: o.Socket != ""}
	if h.timeout <= 0 {
		h.timeout = DefaultTimeout
	}
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
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
	h.request = http.Request{Method: http.MethodPost, URL: u, Host: h.fixed.Get("Host"),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	h.fixed.Del("Host")
	h.transport = newTransport(o.Socket, o.Concurrency, h.timeout)
	return h, nil
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

// Close lets go of idle connections. Those in use end with their attempt.
func (h *HTTP) Close() { h.transport.CloseIdleConnections() }

// errTimeout is the cause of a context that ended because the attempt took too long.
var errTimeout = errors.New("attempt took too long")

// Deliver posts the event once.
func (h *HTTP) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, h.timeout, errTimeout)
	defer cancel()
	answer := h.exchange(ctx, a)
	answer.Took = time.Since(start)
	return answer
}

func (h *HTTP) exchange(ctx context.Context, a *event.Attempt) event.Answer {
	response, err := h.transport.RoundTrip(h.newRequest(ctx, a))
	if err != nil {
		return h.failure(ctx, 0, err)
	}
	defer response.Body.Close()
	answer := classify(response.StatusCode, response.Header, h.retryOn, time.Now())
	if response.StatusCode == http.StatusSwitchingProtocols {
		return answer // what follows is no HTTP
	}
	if response.StatusCode == http.StatusOK && envelope.IsCloudEvent(response.Header) {
		err = readFollowUps(response, &answer)
	} else {
		answer.Detail, err = readDetail(response)
	}
	// An answer that breaks off says nothing of success: a server that fails
	// half-way has sent its status before. A failure it stays either way.
	if err != nil && answer.Outcome == event.Done {
		return h.failure(ctx, response.StatusCode, err)
	}
	return answer
}

// newRequest builds the request for an attempt. It has no GetBody, and the
// transport knows its body to be in memory: one packet for a small event.
func (h *HTTP) newRequest(ctx context.Context, a *event.Attempt) *http.Request {
	header, body := envelope.Encode(a, h.format, h.source)
	if header["User-Agent"] == nil {
		header["User-Agent"] = userAgent
	}
	maps.Copy(header, h.fixed)
	preventResend(header)
	r := h.request.WithContext(ctx)
	r.Header = header
	if len(body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return r
}

var userAgent = []string{"eventd"}

// failure says what an exchange means that did not come to its end.
func (h *HTTP) failure(ctx context.Context, code int, err error) event.Answer {
	answer := broken(ctx, h.timeout, err)
	answer.Code = code
	return answer
}
