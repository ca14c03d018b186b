package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// Status returns how the daemon stands.
func (c *Client) Status(ctx context.Context) (wire.Status, error) {
	var s wire.Status
	err := c.get(ctx, "/v1/status", &s)
	return s, err
}

// Sources returns where events come from.
func (c *Client) Sources(ctx context.Context) ([]event.SourceInfo, error) {
	var s wire.Sources
	err := c.get(ctx, "/v1/sources", &s)
	return s.Sources, err
}

// Routes returns which events go where, in the order they are tried.
func (c *Client) Routes(ctx context.Context) ([]event.RouteInfo, error) {
	var r wire.Routes
	err := c.get(ctx, "/v1/routes", &r)
	return r.Routes, err
}

// Handlers returns where events go.
func (c *Client) Handlers(ctx context.Context) ([]event.HandlerInfo, error) {
	var h wire.Handlers
	err := c.get(ctx, "/v1/handlers", &h)
	return h.Handlers, err
}

// Schedules returns when the daemon makes events itself.
func (c *Client) Schedules(ctx context.Context) ([]event.ScheduleInfo, error) {
	var s wire.Schedules
	err := c.get(ctx, "/v1/schedules", &s)
	return s.Schedules, err
}

// PauseHandler makes a handler's events wait.
func (c *Client) PauseHandler(ctx context.Context, name string) error {
	return c.turn(ctx, "handlers", name, "pause")
}

// ResumeHandler lets a handler's events go on.
func (c *Client) ResumeHandler(ctx context.Context, name string) error {
	return c.turn(ctx, "handlers", name, "resume")
}

// PauseSource stops taking in what comes through a source.
func (c *Client) PauseSource(ctx context.Context, name string) error {
	return c.turn(ctx, "sources", name, "pause")
}

// ResumeSource takes in again what comes through a source.
func (c *Client) ResumeSource(ctx context.Context, name string) error {
	return c.turn(ctx, "sources", name, "resume")
}

func (c *Client) turn(ctx context.Context, kind, name, verb string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	return c.order(ctx, request{path: "/v1/" + kind + "/" + segment(name) + "/" + verb}, nil, nil)
}

// Reload puts the configuration file in force. When something in it is wrong
// the error lists every fault.
func (c *Client) Reload(ctx context.Context) error {
	return c.order(ctx, request{path: "/v1/reload"}, nil, nil)
}

// Config returns the configuration in force as YAML, secrets redacted.
func (c *Client) Config(ctx context.Context) ([]byte, error) {
	_, body, err := c.fetch(ctx, request{method: http.MethodGet, path: "/v1/config", header: http.Header{"Accept": {"application/yaml"}}})
	return body, err
}

// Ready returns nil when the daemon is ready, and an [*Error] that lists the
// reasons when it is not.
func (c *Client) Ready(ctx context.Context) error {
	return c.get(ctx, "/readyz", nil)
}
