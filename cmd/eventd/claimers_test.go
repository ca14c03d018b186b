package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// claimers take events from a daemon that may be killed, and vanish themselves
// now and then with what they have claimed. What they know is kept here.
type claimers struct {
	t    *testing.T
	site *site

	mu        sync.Mutex
	holds     map[string]holding // by event: who may work on it
	completed map[string]int     // by event: how often that was confirmed
	vanished  int                // claimers
	left      int                // events they had
	late      int                // completions that were refused
	done      int
}

type holding struct {
	by    string
	until time.Time
}

func newClaimers(s *site) *claimers {
	return &claimers{t: s.t, site: s, holds: map[string]holding{}, completed: map[string]int{}}
}

// work runs claimers, every other one over NATS, until ctx ends. One that
// vanishes is followed by another.
func (c *claimers) work(ctx context.Context, n int) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for life := 0; ctx.Err() == nil; life++ {
				c.life(ctx, fmt.Sprintf("claimer-%d-%d", i, life), i%2 == 0)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// life is that of one claimer with connections of its own.
func (c *claimers) life(ctx context.Context, by string, overNATS bool) {
	api, hangUp := c.connect(overNATS)
	defer hangUp()
	api.Service = by
	chance := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for ctx.Err() == nil {
		poll, stop := ctx, context.CancelFunc(func() {})
		if chance.IntN(200) == 0 { // vanishes while it waits, or while it is answered
			poll, stop = context.WithTimeout(ctx, rand.N(5*time.Millisecond))
		}
		list, err := api.Claim(poll, "worker", wire.Claim{Max: 1 + chance.IntN(10), Wait: "1s"})
		stop()
		if err != nil {
			if poll.Err() != nil {
				c.vanish(nil)
				return
			}
			c.wonder("claim", err)
			pause(ctx)
			continue
		}
		c.take(by, list)
		for i := range list {
			if chance.IntN(300) == 0 {
				c.vanish(list[i:])
				return
			}
			c.handle(ctx, api, &list[i], chance)
		}
	}
}

func (c *claimers) connect(overNATS bool) (api *client.Client, hangUp func()) {
	if !overNATS {
		transport := &http.Transport{}
		api, err := client.New(c.site.url(c.site.admin, ""), "", &http.Client{Transport: transport})
		if err != nil {
			c.t.Error(err)
		}
		return api, transport.CloseIdleConnections
	}
	nc, err := nats.Connect("nats://127.0.0.1:"+c.site.nats, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		c.t.Error(err)
	}
	return natsClient(nc, "POLLING"), nc.Close
}

func natsClient(nc *nats.Conn, application string) *client.Client {
	return client.NewNATS(application, func(ctx context.Context, subject string, header map[string][]string, body []byte) (map[string][]string, []byte, error) {
		m, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: header, Data: body})
		if err != nil {
			return nil, nil, err
		}
		return m.Header, m.Data, nil
	})
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

// wonder fails about refusals; what cannot be reached was killed.
func (c *claimers) wonder(what string, err error) {
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable {
		c.t.Errorf("%s: %v", what, err)
	}
}

// take notes what was claimed: nobody else may have it.
func (c *claimers) take(by string, list []wire.Claimed) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		id := list[i].Event.EventID
		if h, held := c.holds[id]; held && now.Before(h.until) {
			c.t.Errorf("%s is handed to %s while %s has it until %s", id, by, h.by, h.until)
		}
		c.holds[id] = holding{by, list[i].LeaseUntil.Time}
	}
}

func (c *claimers) vanish(list []wire.Claimed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vanished++
	c.left += len(list)
}

// letGo notes that a claimer does not work on an event any more.
func (c *claimers) letGo(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.holds, id)
}

// handle does what there is to do with a claim.
func (c *claimers) handle(ctx context.Context, api *client.Client, x *wire.Claimed, chance *rand.Rand) {
	id := x.Event.EventID
	retry := true
	switch chance.IntN(40) {
	case 0:
		c.letGo(id)
		_ = c.insist(ctx, func() error {
			return api.Fail(ctx, x.ClaimID, wire.ClaimFailure{Reason: "not now", Retry: &retry})
		})
		return
	case 1:
		c.letGo(id)
		_ = c.insist(ctx, func() error { return api.Release(ctx, x.ClaimID) })
		return
	case 2:
		_ = c.insist(ctx, func() error { _, err := api.Extend(ctx, x.ClaimID, 0); return err })
	}
	c.letGo(id)
	err := c.insist(ctx, func() error { return api.Complete(ctx, x.ClaimID, followUps(id)...) })
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.completed[id]++
		c.done++
	case ctx.Err() == nil:
		c.late++
	}
}

// followUps are those of an event: one in ten has one.
func followUps(id string) []wire.NewEvent {
	if !strings.HasSuffix(id, "7") {
		return nil
	}
	return []wire.NewEvent{{MessageType: "DONE", EventID: "done-" + id}}
}

// insist asks until it is told: what cannot be reached was killed. Only that the
// claim is over may be said against it.
func (c *claimers) insist(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		var refused *client.Error
		if err == nil || ctx.Err() != nil || errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable {
			if refused != nil && refused.Status != http.StatusConflict {
				c.t.Errorf("claim: %v", err)
			}
			return err
		}
		pause(ctx)
	}
}
