package handler

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Health asks the service behind an [HTTP] whether it is well.
type Health struct {
	client  *http.Client
	url     string
	host    string
	fixed   http.Header
	path    string // for people: without query
	timeout time.Duration
}

// Health returns what probes the handler's host or socket with GET requests for
// a path, which may have a query. They have the handler's fixed headers and its
// TLS, and connections of their own: one that is slow or stuck takes nothing from
// the attempts.
func (h *HTTP) Health(path string, timeout time.Duration) (*Health, error) {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, fmt.Errorf("health: path %q cannot be requested", path)
	}
	x := &Health{host: h.host, fixed: h.fixed, path: u.EscapedPath(), timeout: timeout}
	u.Scheme, u.Host = "http", h.host
	if h.pool.tls != nil {
		u.Scheme = "https"
	}
	x.url = u.String()
	if fixed := h.fixed.Get("Host"); fixed != "" {
		x.host = fixed
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := h.pool.dial(ctx, time.Now().Add(timeout))
		if err != nil {
			return nil, err
		}
		return c.Conn, nil
	}
	x.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, DisableCompression: true,
			MaxResponseHeaderBytes: maxReplyHeader, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
	}
	return x, nil
}

// Probe asks once. It returns nil when the answer is 2xx, else what is wrong, in
// words that hold no secrets. It ends within the timeout.
func (x *Health) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, x.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, x.url, http.NoBody)
	if err != nil {
		return errors.New("the path cannot be requested")
	}
	request.Header = x.fixed.Clone()
	request.Header.Del("Host")
	request.Host = x.host
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "eventd")
	}
	response, err := x.client.Do(request)
	if err != nil {
		return x.failure(err)
	}
	_ = response.Body.Close() // what it says beside its status is of no use
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("GET %s: %s", x.path, detailOf([]byte(response.Status)))
	}
	return nil
}

// failure says why there was no answer, without the URL: its query may be secret.
func (x *Health) failure(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("GET %s: no answer within %v", x.path, x.timeout)
	}
	var exchange *url.Error
	if errors.As(err, &exchange) {
		err = exchange.Err
	}
	return fmt.Errorf("GET %s: %s", x.path, detailOf([]byte(err.Error())))
}
