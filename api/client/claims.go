package client

import (
	"context"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// Claim takes events of a polled handler. It waits as long as the order says and
// returns none when there is none by then.
func (c *Client) Claim(ctx context.Context, handler string, o wire.Claim) ([]wire.Claimed, error) {
	var got wire.Claims
	err := c.order(ctx, request{path: "/v1/handlers/" + segment(handler) + "/claim"}, o, &got)
	return got.Claims, err
}

// Complete says that a claimed event is handled. Its follow-up events are stored
// in the same transaction. It and the other methods for claims return an [*Error]
// with the status 409 when the claim is over.
func (c *Client) Complete(ctx context.Context, claimID string, followUps ...wire.NewEvent) error {
	var body any
	if len(followUps) > 0 {
		body = followUps
	}
	return c.order(ctx, request{path: claimPath(claimID, "complete")}, body, nil)
}

// Fail says that a claimed event could not be handled.
func (c *Client) Fail(ctx context.Context, claimID string, f wire.ClaimFailure) error {
	return c.order(ctx, request{path: claimPath(claimID, "fail")}, f, nil)
}

// Extend lets the lease of a claim run out so long from now, and returns when
// that is; as configured for 0.
func (c *Client) Extend(ctx context.Context, claimID string, lease time.Duration) (time.Time, error) {
	var x wire.Extension
	if lease > 0 {
		x.Lease = lease.String()
	}
	var got wire.Extended
	err := c.order(ctx, request{path: claimPath(claimID, "extend")}, x, &got)
	return got.LeaseUntil.Time, err
}

// Release gives a claimed event back as if it had not been claimed.
func (c *Client) Release(ctx context.Context, claimID string) error {
	return c.order(ctx, request{path: claimPath(claimID, "release")}, nil, nil)
}

func claimPath(id, verb string) string { return "/v1/claims/" + segment(id) + "/" + verb }
