package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// Send takes one event in. It is on the daemon's disk when Send returns nil.
func (c *Client) Send(ctx context.Context, e wire.NewEvent) (wire.Receipt, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return wire.Receipt{}, fmt.Errorf("event to send: %w", err)
	}
	receipts, err := c.Post(ctx, http.Header{"Content-Type": {"application/json"}}, body)
	if err == nil && len(receipts) != 1 {
		err = fmt.Errorf("eventd answered with %d receipts for one event", len(receipts))
	}
	if err != nil {
		return wire.Receipt{}, err
	}
	return receipts[0], nil
}

// Post takes in what header and body hold, in any form that POST /v1/events
// knows. Receipts are in the order of the events.
func (c *Client) Post(ctx context.Context, header http.Header, body []byte) ([]wire.Receipt, error) {
	var a wire.Accepted
	err := c.call(ctx, request{method: http.MethodPost, path: "/v1/events", header: header, body: body}, &a)
	return a.Events, err
}

// Explain tells where the events in header and body would go from a table; 0
// stands for the one that [Client.Post] stores in.
func (c *Client) Explain(ctx context.Context, table event.Table, header http.Header, body []byte) ([]wire.ExplainedEvent, error) {
	q := request{method: http.MethodPost, path: "/v1/explain", header: header, body: body}
	if table != 0 {
		q.query = url.Values{"table": {table.String()}}
	}
	var e wire.Explained
	err := c.call(ctx, q, &e)
	return e.Events, err
}

// Query selects events. What is empty selects everything.
type Query struct {
	Table         string
	Status        string
	MessageType   string
	Handler       string
	Route         string
	Reason        string
	SourceService string
	CorrelationID string
	Since, Until  string // a time in RFC 3339, or how long ago: 15m
	Overdue       string // requests without response, sent so long ago: 5m
	OldestFirst   bool
	Limit         int    // 0 for the daemon's default
	Cursor        string // of the page before; all else must be as it was there
}

func (q Query) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"table": q.Table, "status": q.Status, "message_type": q.MessageType, "handler": q.Handler,
		"route": q.Route, "reason": q.Reason, "source_service": q.SourceService,
		"correlation_id": q.CorrelationID, "since": q.Since, "until": q.Until, "cursor": q.Cursor,
		"overdue": q.Overdue,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.OldestFirst {
		v.Set("order", "asc")
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// List returns one page of events, the newest first. It may have fewer than asked
// for, even none: only an empty NextCursor says that there are no more.
func (c *Client) List(ctx context.Context, q Query) (wire.List, error) {
	var l wire.List
	err := c.call(ctx, request{method: http.MethodGet, path: "/v1/events", query: q.values()}, &l)
	return l, err
}

// Show returns all that is known of an event id.
func (c *Client) Show(ctx context.Context, id string) (wire.Detail, error) {
	path, err := eventPath(id, "")
	if err != nil {
		return wire.Detail{}, err
	}
	var d wire.Detail
	err = c.get(ctx, path, &d)
	return d, err
}

// Which chooses among the events that have the same id. What is empty leaves
// the choice open; when several are left the daemon refuses with 409 and lists
// them as [wire.Problem.Candidates].
type Which struct {
	Table         string
	SourceService string
}

func (w Which) values() url.Values {
	v := url.Values{}
	if w.Table != "" {
		v.Set("table", w.Table)
	}
	if w.SourceService != "" {
		v.Set("source_service", w.SourceService)
	}
	return v
}

// Payload returns the nth body of an event with its content type; 0 is what it
// was received with.
func (c *Client) Payload(ctx context.Context, id string, w Which, n int) (body []byte, contentType string, err error) {
	path, err := eventPath(id, "/payload")
	if err != nil {
		return nil, "", err
	}
	q := request{method: http.MethodGet, path: path, query: w.values(), header: http.Header{"Accept": {"*/*"}}}
	if n != 0 {
		q.query.Set("n", strconv.Itoa(n))
	}
	header, body, err := c.fetch(ctx, q)
	if err != nil {
		return nil, "", err
	}
	return body, header.Get("Content-Type"), nil
}

// Redrive has one event handled again and returns it as it is then.
func (c *Client) Redrive(ctx context.Context, id string, w Which, r wire.Redrive) (wire.Row, error) {
	return c.change(ctx, id, "/redrive", w, r)
}

// Cancel gives one event up and returns it as it is then.
func (c *Client) Cancel(ctx context.Context, id string, w Which, r wire.Cancel) (wire.Row, error) {
	return c.change(ctx, id, "/cancel", w, r)
}

func (c *Client) change(ctx context.Context, id, verb string, w Which, body any) (wire.Row, error) {
	path, err := eventPath(id, verb)
	if err != nil {
		return wire.Row{}, err
	}
	var changed wire.Changed
	err = c.order(ctx, request{path: path, query: w.values()}, body, &changed)
	return changed.Event, err
}
