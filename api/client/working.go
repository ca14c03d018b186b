package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/eventd-io/eventd/api/wire"
)

var errNoCorrelation = errors.New("the correlation id is empty")

// Conversation shows all that belongs to a correlation id, with the bodies of its
// payloads where payloads is set.
func (c *Client) Conversation(ctx context.Context, correlationID string, payloads bool) (wire.Conversation, error) {
	var v wire.Conversation
	if correlationID == "" {
		return v, errNoCorrelation
	}
	q := request{method: http.MethodGet, path: "/v1/correlations/" + segment(correlationID)}
	if payloads {
		q.query = url.Values{"payloads": {"true"}}
	}
	err := c.call(ctx, q, &v)
	return v, err
}

// WorkingData returns the working data of a conversation and its ETag.
func (c *Client) WorkingData(ctx context.Context, correlationID string) (body []byte, etag string, err error) {
	return c.document(ctx, request{method: http.MethodGet}, correlationID)
}

// PutWorkingData puts a JSON object in the place of a conversation's working
// data, only while that has the given ETag; "" for any. It returns what stands
// there then.
func (c *Client) PutWorkingData(ctx context.Context, correlationID string, body []byte, etag string) (now []byte, newETag string, err error) {
	return c.document(ctx, amending(http.MethodPut, "application/json", body, etag), correlationID)
}

// PatchWorkingData merges a JSON merge patch (RFC 7396) into the working data of
// a conversation; the rest is as in [Client.PutWorkingData].
func (c *Client) PatchWorkingData(ctx context.Context, correlationID string, patch []byte, etag string) (now []byte, newETag string, err error) {
	return c.document(ctx, amending(http.MethodPatch, "application/merge-patch+json", patch, etag), correlationID)
}

func amending(method, contentType string, body []byte, etag string) request {
	q := request{method: method, header: http.Header{"Content-Type": {contentType}}, body: body}
	if etag != "" {
		q.header.Set("If-Match", etag)
	}
	return q
}

func (c *Client) document(ctx context.Context, q request, correlationID string) (body []byte, etag string, err error) {
	if correlationID == "" {
		return nil, "", errNoCorrelation
	}
	q.path = "/v1/working-data/" + segment(correlationID)
	header, body, err := c.fetch(ctx, q)
	if err != nil {
		return nil, "", err
	}
	return body, header.Get("ETag"), nil
}
