package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/eventd-io/eventd/api/wire"
)

// StartRedrive has all events handled again that a filter selects, as a job of
// the daemon's that goes on by itself; or, for a dry run, tells what the job
// would be about.
func (c *Client) StartRedrive(ctx context.Context, n wire.NewRedrive) (wire.RedriveAnswer, error) {
	var a wire.RedriveAnswer
	err := c.order(ctx, request{path: "/v1/redrives"}, n, &a)
	if err == nil && (a.Redrive == nil) != n.DryRun || err == nil && (a.DryRun == nil) == n.DryRun {
		err = errors.New("answer of eventd: neither a redrive nor a dry run as asked for")
	}
	return a, err
}

// Redrives lists the jobs that redrive many events, the newest first.
func (c *Client) Redrives(ctx context.Context) ([]wire.RedriveJob, error) {
	var l wire.Redrives
	err := c.get(ctx, "/v1/redrives", &l)
	return l.Redrives, err
}

// ShowRedrive returns a job as it stands.
func (c *Client) ShowRedrive(ctx context.Context, id string) (wire.RedriveJob, error) {
	return c.redrive(ctx, http.MethodGet, id)
}

// CancelRedrive ends a job and returns it as it is then. What it has redriven
// stays so.
func (c *Client) CancelRedrive(ctx context.Context, id string) (wire.RedriveJob, error) {
	return c.redrive(ctx, http.MethodDelete, id)
}

func (c *Client) redrive(ctx context.Context, method, id string) (wire.RedriveJob, error) {
	if id == "" {
		return wire.RedriveJob{}, errNoID
	}
	var j wire.RedriveJob
	err := c.call(ctx, request{method: method, path: "/v1/redrives/" + segment(id)}, &j)
	return j, err
}
