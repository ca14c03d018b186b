package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/event"
)

// errRestart: the new configuration changes what only a restart can.
var errRestart = errors.New("needs a restart")

// Reload reads the configuration file and puts it in force. Everything that
// can fail is done before anything that runs is touched: after an error the old
// configuration goes on. [event.ErrUnavailable] before everything is started.
func (d *Daemon) Reload(ctx context.Context) error {
	if !d.up.Load() { // what is to be started would put the old configuration in force again
		return fmt.Errorf("eventd is starting: %w", event.ErrUnavailable)
	}
	d.reloading.Lock()
	defer d.reloading.Unlock()
	err := d.reload(ctx)
	d.metrics.ConfigReloaded(err == nil, time.Now())
	if err != nil {
		d.log.Error().Str("config", d.options.ConfigPath).Strs("problems", strings.Split(err.Error(), "\n")).
			Msg("configuration is not reloaded; the old one goes on")
		return err
	}
	d.log.Info().Str("config", d.options.ConfigPath).Msg("configuration is reloaded")
	return nil
}

func (d *Daemon) reload(ctx context.Context) error {
	if d.stopping.Load() {
		return errors.New("eventd is stopping")
	}
	c, err := Load(d.options.ConfigPath, d.options.Env)
	if err != nil {
		return err
	}
	if keys := config.NeedsRestart(d.config.Load(), c); len(keys) > 0 {
		return fmt.Errorf("%s: %w", strings.Join(keys, ", "), errRestart)
	}
	wanted, err := translateSources(c)
	if err != nil {
		return err
	}
	schedules, err := translateSchedules(c)
	if err != nil {
		return err
	}
	routed, err := translateRouter(c, d.conn, d.log)
	if err != nil {
		return err
	}
	if err := d.router.Reload(routed); err != nil {
		closeDeliverers(routed)
		return err
	}
	old := d.routed
	d.routed = routed
	d.metrics.Configure(labels(c))
	d.config.Store(c)
	d.conn.SetStreams(ctx, translateStreams(c))
	d.applySources(wanted)
	d.schedules.Set(schedules)
	closeDeliverers(old)
	if err := d.claims.Offer(claimedOverNATS(c)); err != nil {
		d.log.Error().Err(err).Msg("claims are offered over NATS as before")
	}
	return nil
}

// Config returns the configuration in force as YAML, secrets redacted.
func (d *Daemon) Config() ([]byte, error) { return d.config.Load().Redacted() }
