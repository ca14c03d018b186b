package daemon

import (
	"context"

	"github.com/eventd-io/eventd/event"
)

// Snapshot tells how eventd stands.
func (d *Daemon) Snapshot() event.Snapshot {
	info, err := d.store.Info(context.Background())
	if err != nil {
		d.log.Error().Err(err).Msg("store cannot be read")
	}
	return event.Snapshot{
		Counts: d.store.Counts(), Handlers: d.router.Handlers(), Sources: d.sourceInfos(),
		Store: info, Connected: d.conn.Connected(),
	}
}

// Routes tells how the routes are configured.
func (d *Daemon) Routes() []event.RouteInfo { return d.router.Routes() }

// Problems tells why eventd is not ready, a sentence each; none when it is.
func (d *Daemon) Problems() (list []string) {
	if !d.up.Load() {
		list = append(list, "starting")
	}
	if d.stopping.Load() {
		list = append(list, "stopping")
	}
	if err := d.store.Err(); err != nil {
		list = append(list, "store: "+err.Error())
	}
	if why := d.store.Full(); why != "" {
		list = append(list, "store: it takes no new events: "+why)
	}
	if !d.conn.Connected() {
		return append(list, "NATS: "+d.conn.Problem())
	}
	for _, s := range d.sourceInfos() {
		if s.Problem != "" && !s.Paused && !s.Held {
			list = append(list, "source "+s.Name+": "+s.Problem)
		}
	}
	return list
}
