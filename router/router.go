package router

import (
	"context"
	"fmt"
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
	Policy      retry.Policy
	Deliverer   Deliverer
}

// Config is what a reload may change.
type Config struct {
	Routes   []Route
	Handlers []Handler
	// DeadLetter is the subject that dead letters are published on; "" for none.
	DeadLetter string
}

// Options of a router that stay.
type Options struct {
	Service  string // created_by of what eventd itself causes
	Store    Store
	Observer Observer
	Log      zerolog.Logger
}

// Router leads events. Its methods may be called from any goroutine.
type Router struct {
	service  string
	store    Store
	observer Observer
	log      zerolog.Logger
	lines    zerolog.Logger // about single events; an outage must not flood the log
	alarm    *retry.Alarm

	live     atomic.Pointer[live] // what a reload replaces
	mu       sync.RWMutex         // guards stopping, and orders reloads
	stopping bool

	attempts   context.Context // of every delivery; ended when a stop runs out of patience
	abandon    context.CancelFunc
	background sync.WaitGroup // dispatchers, alarm, reconciliation
	running    sync.WaitGroup // attempts until they are settled
	quit       chan struct{}
	reconciled chan struct{} // asks for another reconciliation
}

// live is a configuration in use. It does not change.
type live struct {
	*table
	dispatchers map[string]*dispatcher
	deadLetter  string
}

// New returns a router that accepts and stores, but does not deliver before
// [Router.Start]. The error says which route is wrong.
func New(o Options, c Config) (*Router, error) {
	r := &Router{
		service: o.Service, store: o.Store, observer: o.Observer, log: o.Log,
		quit: make(chan struct{}), reconciled: make(chan struct{}, 1),
	}
	r.lines = o.Log.Sample(&zerolog.BurstSampler{Burst: 20, Period: time.Second})
	r.live.Store(&live{})
	r.attempts, r.abandon = context.WithCancel(context.Background())
	r.alarm = retry.NewAlarm(r.ring)
	t, err := newTable(c.Routes)
	if err != nil {
		return nil, err
	}
	r.install(t, c)
	return r, nil
}

// Start recovers what a crash interrupted and begins to deliver. An error is
// one of the store.
func (r *Router) Start(ctx context.Context) error {
	if err := r.recover(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.background.Go(func() { <-r.quit; cancel() })
	r.background.Go(func() { r.alarm.Run(ctx) })
	r.background.Go(func() { r.reconcileLoop(ctx) })
	for _, d := range r.live.Load().dispatchers {
		d.start()
	}
	r.reconcileSoon()
	return nil
}

// Stop stops taking and delivering. It waits for running attempts until ctx
// ends; those still running are then abandoned and become RETRY `interrupted`.
// It returns when everything is settled.
func (r *Router) Stop(ctx context.Context) {
	r.mu.Lock()
	if r.stopping {
		r.mu.Unlock()
		return
	}
	r.stopping = true
	r.mu.Unlock()
	close(r.quit)
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
// anything changes. Handlers that keep their name keep their queue and pause.
func (r *Router) Reload(c Config) error {
	t, err := newTable(c.Routes)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.stopping {
		r.mu.Unlock()
		return event.ErrUnavailable
	}
	for _, d := range r.install(t, c) {
		d.start()
	}
	r.mu.Unlock()
	r.reconcileSoon()
	return nil
}

// install puts a configuration in place and returns the new dispatchers. The
// caller holds mu, or is New.
func (r *Router) install(t *table, c Config) (added []*dispatcher) {
	old := maps.Clone(r.live.Load().dispatchers)
	now := &live{table: t, deadLetter: c.DeadLetter, dispatchers: make(map[string]*dispatcher, len(c.Handlers))}
	for i := range c.Handlers {
		h := &c.Handlers[i]
		d, kept := old[h.Name]
		if kept {
			delete(old, h.Name)
			d.configure(h)
		} else {
			d = newDispatcher(r, h)
			added = append(added, d)
		}
		now.dispatchers[h.Name] = d
	}
	r.live.Store(now)
	for _, gone := range old {
		gone.stop()
	}
	return added
}

func (r *Router) dispatcher(name string) *dispatcher { return r.live.Load().dispatchers[name] }

// ring is called by the alarm.
func (r *Router) ring(name string) {
	if d := r.dispatcher(name); d != nil {
		d.due()
	}
}

// Accept routes and stores messages in one transaction and answers for each
// whether it was new. After it returns nil every message is on disk; after an
// error none is known to be. [event.ErrUnavailable]: eventd is stopping.
func (r *Router) Accept(ctx context.Context, messages []event.Message) ([]event.Receipt, error) {
	r.mu.RLock()
	if r.stopping {
		r.mu.RUnlock()
		return nil, event.ErrUnavailable
	}
	r.running.Add(1)
	r.mu.RUnlock()
	defer r.running.Done()

	now := clock()
	plans := make([]*plan, len(messages))
	admissions := make([]*event.Admission, len(messages))
	for i := range messages {
		m := &messages[i]
		if err := r.complete(ctx, m, now); err != nil {
			r.withdraw(plans[:i])
			return nil, err
		}
		plans[i] = r.plan(m, now)
		admissions[i] = &plans[i].Admission
	}
	if err := r.store.Accept(ctx, admissions); err != nil {
		r.withdraw(plans)
		return nil, fmt.Errorf("store %d events: %w", len(messages), err)
	}
	receipts := make([]event.Receipt, len(plans))
	for i, p := range plans {
		receipts[i] = event.Receipt{Table: p.Event.Table, ID: p.Event.ID, Duplicate: p.Duplicate}
		r.accepted(p, now)
	}
	return receipts, nil
}

// complete fills in what a message did not say.
func (r *Router) complete(ctx context.Context, m *event.Message, now time.Time) error {
	if m.CreatedAt.IsZero() {
		m.CreatedAt = now
	}
	m.CreatedAt = m.CreatedAt.UTC().Truncate(time.Microsecond)
	if m.CreatedBy == "" {
		m.CreatedBy = r.service
	}
	if m.CorrelationID == "" && m.Table == event.Response {
		return r.correlate(ctx, m)
	}
	if m.CorrelationID == "" {
		m.CorrelationID = m.ID
	}
	return nil
}

// correlate gives a response the correlation of the event it answers: the one
// with the same id that was sent out, or came in.
func (r *Router) correlate(ctx context.Context, m *event.Message) error {
	records, err := r.store.Find(ctx, m.ID)
	if err != nil {
		return fmt.Errorf("find what %s answers: %w", m.ID, err)
	}
	m.CorrelationID = m.ID
	for i := range records {
		if records[i].Table == event.Response {
			continue
		}
		m.CorrelationID = records[i].CorrelationID
		if m.CausationID == "" {
			m.CausationID = records[i].ID
		}
		if records[i].Table == event.Request {
			return nil
		}
	}
	return nil
}

// plan is an event on its way into the store, with the slots that were kept
// for it.
type plan struct {
	event.Admission
	reserved []*dispatcher // by delivery; nil where no slot is kept
}

// plan decides where a message goes. Where a handler is idle its slot is kept
// and the first attempt is counted with the very commit that stores the event.
func (r *Router) plan(m *event.Message, now time.Time) *plan {
	p := &plan{Admission: event.Admission{Event: &m.Event, Payload: m.Payload}}
	p.State.UpdatedBy, p.State.UpdatedAt = m.CreatedBy, m.CreatedAt
	if m.Problem != "" {
		r.parkNew(p, m.Problem, m.Detail, now)
		return p
	}
	targets := r.live.Load().match(m)
	if len(targets) == 0 {
		r.parkNew(p, event.NoRoute, "no route matches message_type "+m.MessageType, now)
		return p
	}
	for _, t := range targets {
		r.addDelivery(p, t, now)
	}
	return p
}

func (r *Router) addDelivery(p *plan, t target, now time.Time) {
	due := p.Event.CreatedAt
	if p.Event.DeliverAt.After(now) {
		due = dueTime(p.Event.DeliverAt, 0)
	}
	d := event.Delivery{Handler: t.handler, Route: t.route, Status: event.Unprocessed, NextAttempt: due}
	var kept *dispatcher
	if h := r.dispatcher(t.handler); h != nil && !due.After(now) && h.reserve() {
		var e event.Entry
		kept = h
		d, e = begin(d, now)
		p.State.Timeline = append(p.State.Timeline, e)
		p.State.UpdatedBy, p.State.UpdatedAt = h.service(), now
	}
	p.State.Deliveries = append(p.State.Deliveries, d)
	p.reserved = append(p.reserved, kept)
}

// parkNew stores an event that goes nowhere as ERROR.
func (r *Router) parkNew(p *plan, why event.Reason, detail string, now time.Time) {
	p.State.Status, p.State.Reason = event.Error, why
	p.State.UpdatedBy, p.State.UpdatedAt = r.service, now
	e := event.Entry{At: now, Status: event.Error, Reason: why, Detail: detail}
	p.State.Timeline = append(p.State.Timeline, e)
	p.Outbox = r.deadLetters(p.Event, event.Delivery{Status: event.Error, Reason: why}, detail)
}

// withdraw gives back the slots of events that were not stored.
func (r *Router) withdraw(plans []*plan) {
	for _, p := range plans {
		for _, d := range p.reserved {
			if d != nil {
				d.release()
			}
		}
	}
}

// accepted goes on with an event that is on disk now.
func (r *Router) accepted(p *plan, now time.Time) {
	e := p.Event
	r.observer.EventReceived(e.Source, e.MessageType)
	if p.Duplicate {
		r.observer.EventDuplicate(e.Source)
		r.withdraw([]*plan{p})
		return
	}
	r.log.Debug().Str("event_id", e.ID).Stringer("table", e.Table).Str("message_type", e.MessageType).
		Stringer("status", planStatus(p)).Msg("event accepted")
	if len(p.State.Deliveries) == 0 {
		r.observer.EventEnded(e.MessageType, now.Sub(e.CreatedAt))
	}
	for i := range p.State.Deliveries {
		t := &task{event: e, payload: p.Payload, index: i, delivery: p.State.Deliveries[i]}
		if kept := p.reserved[i]; kept != nil {
			kept.run(t)
			continue
		}
		if d := r.dispatcher(t.delivery.Handler); d != nil {
			d.offer(t)
		}
	}
}

func planStatus(p *plan) event.Status {
	s := p.State
	s.Derive()
	return s.Status
}

// Explain says of every route whether it takes a message, and why not.
func (r *Router) Explain(m event.Message) []event.Explanation { return r.live.Load().explain(&m) }

// Routes tells how the routes are configured.
func (r *Router) Routes() []event.RouteInfo {
	var list []event.RouteInfo
	for _, route := range r.live.Load().routes {
		info := event.RouteInfo{
			Name: route.Name, MessageType: route.MessageTypes, When: route.When,
			Handlers: route.Handlers, Continue: route.Continue,
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
		info.Queue, info.Retries = r.store.Waiting(name)
		list = append(list, info)
	}
	return list
}

// clock reads the time once for a decision, as precisely as the store keeps it.
func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func chance() float64 { return rand.Float64() } //nolint:gosec // spreads retries, guards nothing
