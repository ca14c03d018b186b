package router

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
	"github.com/rs/zerolog"
)

// Handler is where events go, as configured.
type Handler struct {
	Name        string
	Service     string // becomes updated_by of what it handles
	Kind        string // http, unix, topic, log: for people
	Target      string // for people; without secrets
	Concurrency int    // attempts at the same time, at least 1
	Bytes       int    // of the payloads of these, above which no more begin; 0 for any number
	Policy      retry.Policy
	Deliverer   Deliverer     // nil when it is polled
	Lease       time.Duration // of a claim that does not say; above 0 the handler is polled
	Rate        float64       // attempts a second, at most; 0 for any number
	Breaker     *Breaker      // nil for none
	Health      *Health       // nil for none
	// ResponseWithin is how long the response to a request that it sends may
	// take before the request is overdue; 0 where none is awaited.
	ResponseWithin time.Duration
	// AsyncTimeout is how long the handler has an event that it takes over, and
	// AsyncMost how many it may have; 0 where it takes over none.
	AsyncTimeout time.Duration
	AsyncMost    int
}

// Config is what a reload may change.
type Config struct {
	Routes   []Route
	Handlers []Handler
	// Schemas hold what came through a source against what is expected, when it is
	// to be routed after all; by name of the source. When it arrives, whoever
	// receives it does so.
	Schemas map[string]Checker
	// Decoders decode once more what a source brought that was undecodable, as if it
	// came now; by name of the source.
	Decoders map[string]Decoder
	// DeadLetter is the subject that dead letters are published on; "" for none.
	DeadLetter string
}

// Decoder decodes a stored message. It has a Problem when it is still none.
type Decoder func(e *event.Event, payload []byte) event.Message

// Options of a router that stay.
type Options struct {
	Service  string // created_by of what eventd itself causes
	Instance string // in front of the ids of claims: names the store; without dots, "" for nothing
	Store    Store
	Observer Observer
	Log      zerolog.Logger
}

// Router leads events. Its methods may be called from any goroutine.
type Router struct {
	service  string
	instance string
	store    Store
	observer Observer
	log      zerolog.Logger
	lines    zerolog.Logger // about single events; an outage must not flood the log
	alarm    *retry.Alarm
	leases   *leases
	jobs     *jobs

	live     atomic.Pointer[live]   // what a reload replaces
	mu       sync.RWMutex           // guards what follows, and orders reloads
	known    map[string]*dispatcher // configured, or finishing what runs
	started  bool
	stopping bool

	lifetime   context.Context // of background work; ended when a stop begins
	attempts   context.Context // of every delivery; ended when a stop runs out of patience
	abandon    context.CancelFunc
	background sync.WaitGroup // dispatchers, alarm, reconciliation
	running    sync.WaitGroup // attempts until they are settled
	quit       chan struct{}
	unsettled  chan struct{} // asks for a reconciliation
}

// live is a configuration in use. It does not change.
type live struct {
	*table
	dispatchers map[string]*dispatcher
	schemas     map[string]Checker // by source
	decoders    map[string]Decoder // by source
	deadLetter  string
}

// New returns a router that accepts and stores, but does not deliver before
// [Router.Start]. The error says which route is wrong.
func New(o Options, c Config) (*Router, error) {
	r := &Router{
		service: o.Service, instance: o.Instance, store: o.Store, observer: o.Observer, log: o.Log,
		known: make(map[string]*dispatcher), quit: make(chan struct{}), unsettled: make(chan struct{}, 1),
	}
	r.lines = o.Log.Sample(&zerolog.BurstSampler{Burst: 20, Period: time.Second})
	r.live.Store(&live{})
	r.jobs = newJobs(r)
	r.attempts, r.abandon = context.WithCancel(context.Background())
	r.alarm = retry.NewAlarm(r.ring)
	r.leases = newLeases()
	t, err := newTable(c.Routes)
	if err != nil {
		return nil, err
	}
	r.install(t, c)
	return r, nil
}

// Start recovers what a crash interrupted and begins to deliver. Errors: one of
// the store, and [event.ErrUnavailable] after [Router.Stop].
func (r *Router) Start(ctx context.Context) error {
	if err := r.recover(ctx); err != nil {
		return err
	}
	unfinished, err := r.jobs.unfinished(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return event.ErrUnavailable
	}
	r.started = true
	ctx, cancel := context.WithCancel(context.Background())
	r.lifetime = ctx
	r.background.Go(func() { <-r.quit; cancel() })
	r.background.Go(func() { r.alarm.Run(ctx) })
	r.background.Go(func() { r.reconcileLoop(ctx) })
	r.background.Go(func() { r.leaseLoop(ctx) })
	r.background.Go(func() { r.turnLoop(ctx) })
	for _, d := range r.known {
		d.start()
	}
	for i := range unfinished {
		r.jobs.start(&unfinished[i])
	}
	r.reconcileSoon()
	return nil
}

// Stop stops taking and delivering. It waits for running attempts until ctx
// ends; those still running are then abandoned and become RETRY `interrupted`.
// It returns when everything is settled.
func (r *Router) Stop(ctx context.Context) {
	r.mu.Lock()
	if !r.stopping {
		r.stopping = true
		close(r.quit)
	}
	r.mu.Unlock()
	settled := make(chan struct{})
	go func() { r.background.Wait(); r.running.Wait(); close(settled) }()
	select {
	case <-settled:
	case <-ctx.Done():
		r.log.Warn().Msg("attempts still running are abandoned; they will be retried")
	}
	r.abandon()
	<-settled
}

// Reload replaces routes and handlers. Everything that can fail fails before
// anything changes. Handlers that keep their name keep their queue and pause,
// and what runs is finished with the handler it began with.
func (r *Router) Reload(c Config) error {
	t, err := newTable(c.Routes)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return event.ErrUnavailable
	}
	added := r.install(t, c)
	if r.started {
		for _, d := range added {
			d.start()
		}
	}
	r.jobs.signal()
	r.reconcileSoon()
	return nil
}

// install puts a configuration in place and returns the new dispatchers. The
// caller holds mu, or is New. A handler that comes back before its attempts of
// before have ended gets its dispatcher back, so that its slots are counted once.
func (r *Router) install(t *table, c Config) (added []*dispatcher) {
	now := &live{table: t, deadLetter: c.DeadLetter, schemas: c.Schemas, decoders: c.Decoders, dispatchers: make(map[string]*dispatcher, len(c.Handlers))}
	for i := range c.Handlers {
		h := &c.Handlers[i]
		d := r.known[h.Name]
		if d == nil || !d.configure(h) {
			d = newDispatcher(r, h)
			r.known[h.Name] = d
			added = append(added, d)
		}
		now.dispatchers[h.Name] = d
	}
	r.live.Store(now)
	for name, d := range r.known {
		if now.dispatchers[name] == nil && d.retire() {
			delete(r.known, name)
		}
	}
	return added
}

// dispatcher returns the one of a configured handler, nil if it is none.
func (r *Router) dispatcher(name string) *dispatcher { return r.live.Load().dispatchers[name] }

// ring is called by the alarm.
func (r *Router) ring(name string) {
	if d := r.dispatcher(name); d != nil {
		d.due()
	}
}

// Explain says of every route whether it takes a message, and why not.
func (r *Router) Explain(m event.Message) []event.Explanation {
	return r.live.Load().explain(&m, r.newMemory(context.Background()))
}

// Routes tells how the routes are configured.
func (r *Router) Routes() []event.RouteInfo {
	var list []event.RouteInfo
	for _, route := range r.live.Load().routes {
		info := event.RouteInfo{
			Name: route.Name, MessageType: route.MessageTypes, When: route.When,
			Handlers: route.Handlers, Continue: route.Continue, Remember: route.Remember, Schema: route.SchemaFile,
		}
		if route.Expires > 0 {
			info.Expires = route.Expires.String()
		}
		if route.OrderBy != "" {
			info.OrderBy, info.OnFailure = route.OrderBy, route.OnFailure.String()
		}
		if route.Table != 0 {
			info.Table = route.Table.String()
		}
		list = append(list, info)
	}
	return list
}

// Handlers tells how the handlers stand, in the order of their names.
func (r *Router) Handlers() []event.HandlerInfo {
	dispatchers := r.live.Load().dispatchers
	list := make([]event.HandlerInfo, 0, len(dispatchers))
	for _, name := range slices.Sorted(maps.Keys(dispatchers)) {
		info := dispatchers[name].info()
		waiting, retries := r.store.Waiting(name)
		info.Queue, info.Retries = info.Queue+waiting, retries
		if within := dispatchers[name].configured().ResponseWithin; within > 0 {
			info.Overdue = r.store.Overdue(name, clock().Add(-within))
		}
		info.BlockedKeys = r.store.BlockedKeys(name)
		list = append(list, info)
	}
	return list
}

// clock reads the time once for a decision, as precisely as the store keeps it.
func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func chance() float64 { return rand.Float64() } //nolint:gosec // spreads retries, guards nothing
