package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// claimOne claims one event of the worker.
func claimOne(t *testing.T, c *client.Client) wire.Claimed {
	t.Helper()
	list, err := c.Claim(context.Background(), "worker", wire.Claim{Max: 10, Wait: "10s"})
	if err != nil || len(list) != 1 {
		t.Fatalf("claimed %d events, %v; want one", len(list), err)
	}
	return list[0]
}

func wantStatus(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v; want %d with %q", what, err, status, text)
	}
}

// TestClaimsOverBothWays: the ids are the same, and so are the refusals.
func TestClaimsOverBothWays(t *testing.T) {
	p := run(t, pollingRoutes)
	overHTTP, overNATS := p.overHTTP(), p.overNATS()
	overNATS.Service = "WORKER"
	p.job("j1")
	c := claimOne(t, overNATS)
	if c.Event.EventID != "j1" || c.Attempt != 1 || string(c.Payload) != `{"n":1}` || c.Event.UpdatedBy != "WORKER" {
		t.Errorf("claim over NATS: %+v", c)
	}
	if _, err := overNATS.Extend(context.Background(), c.ClaimID, time.Hour); err != nil {
		t.Error(err)
	}
	if d, err := p.Show(context.Background(), "j1"); err != nil || time.Until(d.Deliveries[0].NextAttemptDttm.Time) < 50*time.Minute {
		t.Errorf("extended: %+v, %v", d.Deliveries, err)
	}
	if err := overHTTP.Complete(context.Background(), c.ClaimID); err != nil {
		t.Error(err)
	}
	p.await("j1", "COMPLETED")
	wantStatus(t, "complete twice", overNATS.Complete(context.Background(), c.ClaimID), 409, "it is COMPLETED after attempt 1")
	wantStatus(t, "release nothing", overNATS.Release(context.Background(), strings.SplitN(c.ClaimID, ".", 2)[0]+".99-0-0-1-1"), 404, "99-0-0-1-1")
	_, err := overNATS.Claim(context.Background(), "worker", wire.Claim{Wait: "61s"})
	wantStatus(t, "wait for too long", err, 422, "not from 0s to 1m0s")
	if _, err := overNATS.Claim(context.Background(), "done", wire.Claim{}); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("of a handler that is not polled: %v; want no responders", err)
	}
	if err := overNATS.Reload(context.Background()); err == nil || !strings.Contains(err.Error(), "claims alone") {
		t.Errorf("reload over NATS: %v", err)
	}
}

// TestClaimerThatHasLeft gets nothing, and others do.
func TestClaimerThatHasLeft(t *testing.T) {
	p := run(t, pollingRoutes)
	nc := p.connect()
	if err := nc.PublishRequest("eventd.SERVICE_A.claim.worker", nc.NewInbox(), []byte(`{"wait":"30s"}`)); err != nil {
		t.Fatal(err)
	}
	p.eventually(func() error {
		m, err := nc.Request("$SRV.STATS.eventd", nil, patience)
		if err != nil {
			return err
		}
		var s micro.Stats
		if err := json.Unmarshal(m.Data, &s); err != nil {
			return err
		}
		if data := string(s.Endpoints[0].Data); !strings.Contains(data, `"waiting":1`) {
			return fmt.Errorf("nobody waits: %s", data)
		}
		return nil
	})
	nc.Close()
	p.job("j1")
	p.eventually(func() error {
		d, err := p.Show(context.Background(), "j1")
		if err != nil || len(d.Timeline) == 0 {
			return fmt.Errorf("no timeline: %w", err)
		}
		if last := d.Timeline[len(d.Timeline)-1]; last.Status != "UNPROCESSED" || last.Detail != "released by SERVICE_A and not counted" {
			return fmt.Errorf("%+v is the last of %d entries", last, len(d.Timeline))
		}
		return nil
	})
	if c := claimOne(t, p.overNATS()); c.Attempt != 1 {
		t.Errorf("the next attempt has number %d; want 1", c.Attempt)
	}
}

// TestLargeEventsAreLeftOut of claims over NATS. They wait for one over HTTP.
func TestLargeEventsAreLeftOut(t *testing.T) {
	p := run(t, pollingRoutes)
	send := func(id, contentType string, payload []byte) {
		t.Helper()
		h := http.Header{"Ce-Id": {id}, "Ce-Type": {"JOB"}, "Ce-Source": {"/test"}, "Ce-Specversion": {"1.0"}, "Content-Type": {contentType}}
		if _, err := p.Post(context.Background(), h, payload); err != nil {
			t.Fatal(err)
		}
	}
	binary := func(n int) []byte { return []byte(strings.Repeat("\xff", n)) }
	send("large", "application/octet-stream", binary(2<<20))
	send("larger-as-base64", "application/octet-stream", binary(900<<10))
	send("quoted", "text/plain", []byte(strings.Repeat("\"", 700<<10)))
	send("fits-1", "text/plain", []byte(strings.Repeat("x", 700<<10)))
	send("fits-2", "text/plain", []byte(strings.Repeat("x", 700<<10)))
	m, err := p.connect().Request("eventd.SERVICE_A.claim.worker", []byte(`{"max":10}`), patience)
	if err != nil {
		t.Fatal(err)
	}
	var got wire.Claims
	if err := json.Unmarshal(m.Data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Claims) != 1 || got.Claims[0].Event.EventID != "fits-1" || got.TooLarge != 3 {
		t.Errorf("%d claims, %d too large; want fits-1, 3 too large", len(got.Claims), got.TooLarge)
	}
	var ids []string
	rest, err := p.overHTTP().Claim(context.Background(), "worker", wire.Claim{Max: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rest {
		ids = append(ids, fmt.Sprint(c.Event.EventID, " ", c.Attempt))
	}
	if fmt.Sprint(ids) != "[large 1 larger-as-base64 1 quoted 1 fits-2 1]" {
		t.Errorf("over HTTP: %v", ids)
	}
}

// TestClaimsOverNATSAreSwitched by a reload.
func TestClaimsOverNATSAreSwitched(t *testing.T) {
	off := strings.ReplaceAll(pollingRoutes, `{"nats": true}`, "{lease: 1m}")
	p := run(t, off)
	c := p.overNATS()
	claim := func() error {
		_, err := c.Claim(context.Background(), "worker", wire.Claim{})
		return err
	}
	if err := claim(); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("when it is off: %v; want no responders", err)
	}
	reload := func(text string) {
		t.Helper()
		p.write(text)
		if err := p.Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	reload(pollingRoutes)
	if err := claim(); err != nil {
		t.Errorf("when it is on: %v", err)
	}
	p.job("j1")
	held := claimOne(t, c)
	reload(off)
	p.eventually(func() error {
		if err := claim(); !errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("when it is off again: %w", err)
		}
		return nil
	})
	if err := c.Complete(context.Background(), held.ClaimID); err != nil {
		t.Errorf("what was claimed: %v", err)
	}
}

// TestEventdsOfOneService, each with a store of its own, on one NATS server.
func TestEventdsOfOneService(t *testing.T) {
	server := run(t, "handlers: {h: {log: {}}}\nroutes: [{message_type: X, handler: h}]\n")
	routes := fmt.Sprintf("nats: {url: %q}\n", "nats://"+server.nats) + pollingRoutes
	a, b := run(t, routes), run(t, routes)
	a.job("of-a")
	b.job("of-b")
	c := natsClient(server.connect(), "SERVICE_A")
	completed := map[string]bool{}
	a.eventually(func() error {
		list, err := c.Claim(context.Background(), "worker", wire.Claim{Max: 10})
		if err != nil {
			return err
		}
		for _, x := range list {
			if err := c.Complete(context.Background(), x.ClaimID); err != nil {
				t.Error(err)
			}
			completed[x.Event.EventID] = true
		}
		if len(completed) < 2 {
			return fmt.Errorf("completed: %v", completed)
		}
		return nil
	})
	a.await("of-a", "COMPLETED")
	b.await("of-b", "COMPLETED")
}

// TestMetricsOfClaims after a claim, an expiry, a restart, a release.
func TestMetricsOfClaims(t *testing.T) {
	p := run(t, pollingRoutes)
	want := func(when string, claims int, expired int) {
		t.Helper()
		p.eventually(func() error {
			text := p.scrape()
			for _, line := range []string{
				fmt.Sprintf(`eventd_claims{handler="worker"} %d`, claims),
				fmt.Sprintf(`eventd_deliveries_total{handler="worker",outcome="retry",reason="claim_expired"} %d`, expired),
			} {
				if strings.HasSuffix(line, `claim_expired"} 0`) {
					continue // a series that is there once it happens
				}
				if !strings.Contains(text, line+"\n") {
					return fmt.Errorf("%s: /metrics has no %s", when, line)
				}
			}
			return nil
		})
	}
	c := p.overNATS()
	want("at the start", 0, 0)
	p.job("j1")
	p.job("j2")
	list, err := c.Claim(context.Background(), "worker", wire.Claim{Max: 1, Lease: "1s"})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	want("claimed", 1, 0)
	want("run out", 0, 1)
	list, err = c.Claim(context.Background(), "worker", wire.Claim{Max: 10, Lease: "1h"})
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	want("claimed again", len(list), 1)
	p.stop()
	p.start()
	want("after a restart", len(list), 0)
	if err := c.Release(context.Background(), list[0].ClaimID); err != nil {
		t.Error(err)
	}
	want("released", len(list)-1, 0)
}

// scrape returns what /metrics says.
func (p *product) scrape() string {
	p.t.Helper()
	res, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}
