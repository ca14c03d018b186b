// Package client speaks to the HTTP API of a running eventd. The command line
// uses it, and so can any other Go program.
//
// Every method makes one request and does not repeat it. A refusal by the
// daemon is an [*Error]; anything else means that the daemon was not reached or
// its answer could not be read, and what it did is unknown.
//
// Reading order: [New], [Client.Send], [Query], then the rest as needed.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer is how many bytes of an answer are read. The largest are details
// of events with many payloads.
const maxAnswer = 256 << 20

// Client speaks to one eventd. It is safe for use by several goroutines.
type Client struct {
	// Service is sent as the one that makes events and asks for changes; the
	// daemon puts its own where it is "". Set it before the first call.
	Service string

	base  string
	token string
	http  http.Client
}

// New returns a client for the API at baseURL, http://127.0.0.1:9180 for one.
// token may be "". hc may be nil; it is copied, and redirects are not followed,
// whatever it says: a token is for one place.
func New(baseURL, token string, hc *http.Client) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("address of eventd: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("address of eventd: %q is not of the form http://host:port", baseURL)
	}
	c := &Client{base: strings.TrimRight(baseURL, "/"), token: token}
	if hc != nil {
		c.http = *hc
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// request is one call on its way out.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
}

// call makes a request and reads the answer into v, which may be nil.
func (c *Client) call(ctx context.Context, q request, v any) error {
	_, body, err := c.fetch(ctx, q)
	if err != nil || v == nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s %s: answer of eventd: %w", q.method, q.path, err)
	}
	return nil
}

func (c *Client) fetch(ctx context.Context, q request) (http.Header, []byte, error) {
	req, err := c.build(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s: answer of eventd: %w", q.method, q.path, err)
	}
	if len(body) > maxAnswer {
		return nil, nil, fmt.Errorf("%s %s: answer of eventd is larger than %d bytes", q.method, q.path, maxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, nil, errorOf(resp, body)
	}
	return resp.Header, body, nil
}

func (c *Client) build(ctx context.Context, q request) (*http.Request, error) {
	target := c.base + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	for name, values := range q.header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.Service != "" && req.Header.Get("Eventd-Service") == "" {
		req.Header.Set("Eventd-Service", c.Service)
	}
	return req, nil
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path}, v)
}

// order posts a JSON body, none when it is nil.
func (c *Client) order(ctx context.Context, q request, body, v any) error {
	q.method = http.MethodPost
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", q.path, err)
		}
		q.body, q.header = b, http.Header{"Content-Type": {"application/json"}}
	}
	return c.call(ctx, q, v)
}

var errNoID = errors.New("the event id is empty")

// eventPath returns the path of an event, whatever characters its id has.
func eventPath(id, rest string) (string, error) {
	if id == "" {
		return "", errNoID
	}
	return "/v1/events/" + segment(id) + rest, nil
}

// segment escapes a name as one segment of a path. Dots are escaped where they
// would be taken for a step between segments.
func segment(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}
