package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// TestCallsOverNATS: where they go, how long they may take, and what is no call.
func TestCallsOverNATS(t *testing.T) {
	var subject string
	var within time.Duration
	header, answer := map[string][]string{}, `{"claims":[]}`
	c := NewNATS("SHOP", func(ctx context.Context, to string, h map[string][]string, body []byte) (map[string][]string, []byte, error) {
		deadline, _ := ctx.Deadline()
		subject, within = to, time.Until(deadline).Round(time.Second)
		if h["Eventd-Service"][0] != "W" {
			t.Errorf("headers %v; want the service", h)
		}
		return header, []byte(answer), nil
	})
	c.Service = "W"
	ctx := context.Background()
	for want, call := range map[string]func() error{
		"eventd.SHOP.claim.worker 30s": func() error { _, err := c.Claim(ctx, "worker", wire.Claim{Wait: "20s"}); return err },
		"eventd.SHOP.claim.other 10s":  func() error { _, err := c.Claim(ctx, "other", wire.Claim{}); return err },
		"eventd.SHOP.claims.7f3a.1-0-0-1-5.complete 10s": func() error {
			return c.Complete(ctx, "7f3a.1-0-0-1-5", wire.NewEvent{MessageType: "A"})
		},
		"eventd.SHOP.claims.7f3a.1-0-0-1-5.release 10s": func() error { return c.Release(ctx, "7f3a.1-0-0-1-5") },
	} {
		if err := call(); err != nil || subject+" "+within.String() != want {
			t.Errorf("asked %s within %s, %v; want %s", subject, within, err, want)
		}
	}
	subject = ""
	for name, call := range map[string]func() error{
		"reload":     func() error { return c.Reload(ctx) },
		"status":     func() error { _, err := c.Status(ctx); return err },
		"a wildcard": func() error { _, err := c.Claim(ctx, "*", wire.Claim{}); return err },
		"a path":     func() error { return c.Release(ctx, "a/b") },
	} {
		if err := call(); !errors.Is(err, errNotOverNATS) || subject != "" {
			t.Errorf("%s: %v, asked %q; want nothing sent", name, err, subject)
		}
	}
	header = map[string][]string{"Nats-Service-Error-Code": {"409"}, "Nats-Service-Error": {"over"}, "Content-Type": {"application/problem+json"}}
	answer = `{"detail":"the claim is over"}`
	var refused *Error
	if err := c.Release(ctx, "7f3a.1-0-0-1-5"); !errors.As(err, &refused) || refused.Status != 409 || refused.Detail != "the claim is over" {
		t.Errorf("refused: %v; want 409", err)
	}
	header["Nats-Service-Error-Code"] = []string{"oops"}
	if err := c.Release(ctx, "7f3a.1-0-0-1-5"); err == nil || errors.As(err, &refused) && refused.Status == 0 || !strings.Contains(err.Error(), "oops over") {
		t.Errorf("an error that has no code of HTTP: %v", err)
	}
}
