package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/metrics"
	"github.com/eventd-io/eventd/queue"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/schedule"
	"github.com/eventd-io/eventd/storage"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// StoreFile is the name of the store in the configured data_dir.
const StoreFile = "eventd.db"

// Options say what to run.
type Options struct {
	ConfigPath string
	Env        func(string) (string, bool) // looks up ${…}; nil: the environment
	Version    string
	Commit     string
	Log        io.Writer       // where log lines go; nil: standard error
	Reload     <-chan struct{} // asks to read the configuration again
	Ready      func()          // called once, when everything is started; nil for nobody
}

// Daemon is eventd at work. It is made by [Run].
type Daemon struct {
	options  Options
	log      zerolog.Logger
	started  time.Time
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	store    *storage.DB
	conn     *queue.Conn
	router   *router.Router
	// schedules make events once everything else is started.
	schedules *schedule.Runner

	reloading sync.Mutex // one reload at a time; guards routed
	routed    router.Config
	config    atomic.Pointer[config.Config]
	sources   sources
	claims    *queue.ClaimService
	up        atomic.Bool // everything is started
	stopping  atomic.Bool
	failed    chan error // the first thing that cannot be lived with
	stages    []stage    // to be stopped, last first
}

// stage is a part that runs and how to stop it. ctx is its grace.
type stage struct {
	name string
	stop func(ctx context.Context) error
}

// Run runs eventd until ctx ends, then stops it in order and returns nil; or
// until something fails for good, and returns that. [ExitCode] tells how the
// process ends.
func Run(ctx context.Context, o Options) error {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Log == nil {
		o.Log = os.Stderr
	}
	// A file that was accepted must not keep all handlers from a start because time
	// has passed.
	var outdated []string
	c, err := load(o.ConfigPath, o.Env, func(path string, err error) { outdated = append(outdated, path+": "+err.Error()) })
	if err != nil {
		return err
	}
	d := &Daemon{options: o, log: newLogger(c.Log, o.Log), started: time.Now(), failed: make(chan error, 1)}
	for _, problem := range outdated {
		d.log.Warn().Str("problem", problem).Msg("a handler has a certificate that is not valid at this time; eventd starts all the same")
	}
	d.config.Store(c)
	err = d.start(ctx, c)
	if err == nil {
		d.up.Store(true)
		d.log.Info().Str("version", o.Version).Str("config", o.ConfigPath).Str("admin", c.Admin.Listen).
			Str("metrics", c.Metrics.Listen).Dur("took", time.Since(d.started)).Msg("eventd is up")
		if o.Ready != nil {
			o.Ready()
		}
		err = d.serve(ctx)
	}
	d.stop()
	return err
}

// serve waits for the end, and reloads when asked to.
func (d *Daemon) serve(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			d.log.Info().Msg("stopping")
			return nil
		case err := <-d.failed:
			d.log.Error().Err(err).Msg("cannot go on")
			return err
		case <-d.store.Broken():
			err := d.store.Err()
			d.log.Error().Err(err).Msg("a commit failed: what is on disk is unknown; ending")
			return err
		case err := <-d.conn.Refused():
			d.log.Error().Err(err).Msg("NATS refuses the connection for good")
			return fmt.Errorf("%w: %w", errRefused, err)
		case <-d.options.Reload:
			// What went wrong is logged, and the old configuration goes on.
			_ = d.Reload(ctx)
		}
	}
}

// fail ends the daemon with the first error given to it.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

func (d *Daemon) onStop(name string, stop func(context.Context) error) {
	d.stages = append(d.stages, stage{name: name, stop: stop})
}

// start brings the parts up. What it returns an error from was not started;
// [Daemon.stop] stops what was.
func (d *Daemon) start(ctx context.Context, c *config.Config) error {
	for _, step := range []func(context.Context, *config.Config) error{
		d.startMetrics, d.startStore, d.startQueue, d.startRouter, d.startListeners, d.startClaims, d.startOutbox, d.startSources,
		d.startSchedules,
	} {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (d *Daemon) startMetrics(_ context.Context, c *config.Config) (err error) {
	d.registry = prometheus.NewRegistry()
	d.metrics, err = metrics.New(d.registry, metrics.Build{
		Version: d.options.Version, Commit: d.options.Commit, GoVersion: runtime.Version(),
	})
	if err != nil {
		return err
	}
	d.metrics.Configure(labels(c))
	d.metrics.ConfigReloaded(true, time.Now())
	return nil
}

// labels are the names that metrics may have.
func labels(c *config.Config) metrics.Labels {
	l := metrics.Labels{Sources: config.Names(c.Sources), Handlers: config.Names(c.Handlers)}
	for _, r := range c.Routes {
		for _, t := range r.MessageType {
			if !isGlob(t) {
				l.MessageTypes = append(l.MessageTypes, t)
			}
		}
	}
	for _, s := range c.Sources {
		if s.MessageType != "" {
			l.MessageTypes = append(l.MessageTypes, s.MessageType)
		}
	}
	for _, name := range config.Names(c.Schedules) {
		l.Schedules = append(l.Schedules, schedule.SourceOf(name))
		l.MessageTypes = append(l.MessageTypes, c.Schedules[name].MessageType)
	}
	return l
}

func isGlob(s string) bool {
	for _, c := range s {
		if c == '*' {
			return true
		}
	}
	return false
}

func (d *Daemon) startStore(ctx context.Context, c *config.Config) (err error) {
	d.store, err = storage.Open(storage.Options{
		Path: filepath.Join(c.DataDir, StoreFile), LockTimeout: c.Store.LockTimeout,
		DedupeWindow: dedupeWindow(c), Log: d.log, Observer: d.metrics,
		MaxSize: int64(c.Store.MaxSize), Retention: storage.Retention(c.Store.Retention),
	})
	if err != nil {
		return err
	}
	// A start or a reload may wait for space in the store when the end comes.
	release := context.AfterFunc(ctx, d.hurry)
	d.onStop("store", func(context.Context) error { release(); return d.store.Close() })
	return nil
}

func (d *Daemon) startQueue(ctx context.Context, c *config.Config) (err error) {
	d.conn, err = queue.Open(ctx, translateQueue(c, d.log))
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	d.onStop("NATS", d.conn.Close)
	return nil
}

func (d *Daemon) startRouter(ctx context.Context, c *config.Config) (err error) {
	if d.routed, err = translateRouter(c, d.conn, d.log); err != nil {
		return err
	}
	d.router, err = router.New(router.Options{
		Service: c.Service, Instance: instance(d.store.ID()), Store: d.store, Observer: d.metrics, Log: d.log,
	}, d.routed)
	if err != nil {
		return err
	}
	d.schedules = schedule.NewRunner(d.store, d.router, d.log)
	d.onStop("router", func(ctx context.Context) error {
		d.router.Stop(ctx)
		closeDeliverers(d.routed)
		return nil
	})
	if err := d.router.Start(ctx); err != nil {
		return err
	}
	d.metrics.SetSnapshot(d.Snapshot)
	return nil
}

// instance is the name that claims of a store have in front: the random end of
// its id. It stays when eventd is started anew, or elsewhere.
func instance(storeID string) string { return storeID[max(0, len(storeID)-12):] }

// startOutbox publishes what waits in the outbox. It is stopped before NATS is;
// what is left is published after the next start.
func (d *Daemon) startOutbox(context.Context, *config.Config) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.conn.DrainOutbox(ctx, d.store, d.store.OutboxWake()) }()
	d.onStop("outbox", func(context.Context) error {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	return nil
}

// stageGrace is how long a part may take to stop when it is not told otherwise.
const stageGrace = 5 * time.Second

// hurry lets nothing wait for space in a store that is full already: what makes
// some may be stopped before.
func (d *Daemon) hurry() {
	if d.store.Full() != "" {
		d.store.WaitNoMore()
	}
}

// stop stops what was started, in reverse order. The router has the configured
// time to finish the attempts that run. A part that is not through in its time may
// wait for space in the store, which then is waited for no more.
func (d *Daemon) stop() {
	d.stopping.Store(true)
	if d.store != nil {
		d.hurry()
	}
	for i := len(d.stages) - 1; i >= 0; i-- {
		s := d.stages[i]
		grace := stageGrace
		if s.name == "router" {
			grace = d.config.Load().ShutdownTimeout
		}
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		release := context.AfterFunc(ctx, d.store.WaitNoMore)
		if err := s.stop(ctx); err != nil {
			d.log.Warn().Err(err).Str("part", s.name).Msg("did not stop cleanly")
		}
		release()
		cancel()
	}
	d.stages = nil
	if d.up.Load() {
		d.log.Info().Msg("stopped")
	}
}
