package daemon

import (
	"context"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/queue"
)

// startClaims offers claims over NATS of the handlers that are configured so. The
// calls are those of the API; the NATS server has decided who may make them.
func (d *Daemon) startClaims(_ context.Context, c *config.Config) error {
	d.claims = d.conn.NewClaimService(queue.ClaimOptions{
		Service: c.Service, Instance: instance(d.store.ID()), Version: d.options.Version,
	}, api.NewClaims(api.Options{Service: c.Service, Claims: d.router, Log: d.log}))
	d.onStop("claims over NATS", d.claims.Close)
	return d.claims.Offer(claimedOverNATS(c))
}

// claimedOverNATS returns the handlers of which services may claim over NATS, in
// the order of their names.
func claimedOverNATS(c *config.Config) (handlers []string) {
	for _, name := range config.Names(c.Handlers) {
		if p := c.Handlers[name].Poll; p != nil && p.NATS {
			handlers = append(handlers, name)
		}
	}
	return handlers
}
