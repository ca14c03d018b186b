package router

import (
	"context"
	"sync"
	"time"

	"github.com/eventd-io/eventd/event"
)

// heldBytes bounds the payloads that wait in memory for a slot of a handler.
const heldBytes = 8 << 20

// task is one delivery in memory.
type task struct {
	event    *event.Event
	payload  []byte
	index    int            // of the delivery in the event's state
	delivery event.Delivery // as it was last read or written
	before   event.Delivery // as it was before the attempt was counted
	began    time.Time      // when it was counted
	closed   int            // how often the handler had been closed off when it took its slot
}

// dispatcher takes what is due for one handler whenever there is room.
//
// An attempt is counted and stored before it may begin. So that no slot waits
// for the disk, a handler that answers quickly has attempts counted ahead: as
// many as it finishes in a tenth of a second, see [flow]. They stand in ahead,
// IN_PROGRESS, until a slot is free. When the handler stops taking, they are
// handed back uncounted.
//
// All else that is due is in the store alone. When backlog is set there may be
// some, and nothing new is counted on arrival, so that what waits longest goes
// first; unless it waits for less than youth. A burst would otherwise send all
// that comes after it through the store: as long as events come, some are there.
//
// Whoever lets something begin that could not before - room, something due, a
// resume - signals loop, which looks at everything anew.
type dispatcher struct {
	router *Router
	name   string
	wake   chan struct{}
	ended  chan struct{} // closed when the handler is configured away and nothing runs

	switching sync.Mutex    // orders pauses and resumes, in memory and in the store
	claiming  chan struct{} // holds one: whoever claims at the moment

	mu      sync.Mutex
	handler *Handler
	retired bool // configured away; what runs is finished
	over    bool // ended is closed
	closed  bool // loop has ended: nobody looks at ahead any more
	flow    flow

	running  int        // slots taken
	settling int        // outcomes that are not stored yet
	counting int        // attempts whose count is not stored yet
	ahead    []*task    // counted, waiting for a slot
	bytes    int        // of payloads in counting and ahead
	carried  int        // bytes of payloads in running
	outcomes []*outcome // to be stored by settler
	settler  bool       // runs
	lastSlow bool       // the last attempt took at least slowAttempt
	gathering
	space chan struct{} // closed when there is room again; nil when nobody waits

	backlog bool
	oldest  time.Time // since when the first of the backlog waits; zero: not known
	missed  bool      // something came while the store is read, which the reading may not have seen
	paused  string    // why; "" for not
	rest    time.Time
	breaker breaker
	health  health
	unwatch context.CancelFunc // ends the probes; nil without
	ramp    ramp
	closes  int // how often it was closed off
	earlier int // of running: what began before it was closed off last
	started bool
	fair    fair
	limiter *limiter // nil without a limit

	announced chan struct{} // closed when there may be something to claim; nil when nobody waits
}

func newDispatcher(r *Router, h *Handler) *dispatcher {
	return &dispatcher{
		router: r, name: h.Name, handler: h, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		limiter: newLimiter(h.Rate, nil), claiming: make(chan struct{}, 1), backlog: true, paused: r.store.Paused("handler", h.Name),
	}
}

func (d *dispatcher) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.started = true
	d.watchHealth()
	d.signal()
	d.router.background.Go(d.loop)
}

// configure gives a dispatcher its handler, also after it was retired. It
// returns false when it has ended since.
func (d *dispatcher) configure(h *Handler) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false
	}
	if h.Rate != d.handler.Rate {
		d.limiter = newLimiter(h.Rate, d.limiter)
	}
	if h.Breaker == nil {
		d.breaker = breaker{}
	}
	d.handler, d.retired = h, false
	d.watchHealth()
	d.backlog, d.missed, d.oldest = true, true, time.Time{} // nobody told it what became due while it was retired
	d.signal()
	return true
}

// retire lets nothing begin any more. It returns true when nothing runs either:
// then the dispatcher has ended.
func (d *dispatcher) retire() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired, d.backlog = true, true
	d.watchHealth()
	d.signal()
	d.endIdle()
	return d.over
}

// taken returns how many attempts are counted, or about to be, and not settled.
// The caller holds mu.
func (d *dispatcher) taken() int { return d.running + d.settling + d.counting + len(d.ahead) }

// room returns how many more attempts may be counted now. The caller holds mu.
func (d *dispatcher) room(now time.Time) int {
	if d.handler.polled() || d.roomBytes() <= 0 {
		return 0
	}
	if gentle := d.gentle(now); gentle > 0 {
		n := min(gentle-d.taken()+d.earlier, d.handler.Concurrency-d.taken())
		return d.allowed(d.entrusted(n))
	}
	return d.allowed(d.entrusted(d.handler.Concurrency + d.flow.ahead(now) - d.taken()))
}

// endIdle ends a retired dispatcher once nothing runs. The caller holds mu.
func (d *dispatcher) endIdle() {
	if d.retired && d.taken() == 0 && !d.over {
		d.over = true
		close(d.ended)
	}
}

// configured returns the handler as it is configured now.
func (d *dispatcher) configured() *Handler {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handler
}

func (d *dispatcher) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// due says that the store has something whose time has come.
func (d *dispatcher) due() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.backlog {
		d.oldest = time.Now()
	}
	d.backlog, d.missed = true, true
	d.signal()
}

// youth is by how much an event may be overtaken by those that came later.
const youth = 250 * time.Millisecond

// young reports whether nothing waits in the store, or not for long. The caller
// holds mu.
func (d *dispatcher) young(now time.Time) bool {
	return !d.backlog || now.Sub(d.oldest) < youth
}

// open reports whether attempts may begin now, given a slot. The caller holds mu.
func (d *dispatcher) open(now time.Time) bool {
	return !d.retired && d.paused == "" && !now.Before(d.rest) && !d.breaker.open(now) && d.health.well() && !d.router.quitting()
}

// pushes reports whether attempts may begin now that nobody claims: what is counted
// for a handler that is polled since has no slot to come. The caller holds mu.
func (d *dispatcher) pushes(now time.Time) bool { return d.open(now) && !d.handler.polled() }

// reserve makes room for the attempt of an event that is about to be stored, if
// nothing has been due for long that it would overtake.
func (d *dispatcher) reserve(bytes int, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.young(now) || !d.open(now) || d.room(now) <= 0 {
		return false
	}
	d.counting++
	d.bytes += bytes
	return true
}

// release gives up room that was reserved.
func (d *dispatcher) release(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counting--
	d.bytes -= bytes
	d.freed(time.Now())
}

// thirsty reports whether there is room worth reading the store for: a slot, or
// half of what may be counted ahead. The caller holds mu.
func (d *dispatcher) thirsty(now time.Time) bool {
	return 2*d.taken() <= d.handler.Concurrency+d.flow.ahead(now) || d.taken() < d.handler.Concurrency
}

// freed wakes loop, or who waits for space, when room that was given back lets
// them go on. The caller holds mu.
func (d *dispatcher) freed(now time.Time) {
	if d.backlog && d.thirsty(now) {
		d.signal()
	}
	d.relieved(now)
}

// relieved lets go on who waits for what runs to become less. The caller holds mu.
func (d *dispatcher) relieved(now time.Time) {
	if d.space != nil && d.calm(now) {
		close(d.space)
		d.space = nil
	}
	d.endIdle()
}

// saturated returns nil, or a channel that is closed when a handler that works
// at a good pace and has as much as it can take has room again. Who fills its
// queue does well to wait for that: what is counted on arrival is written once.
func (d *dispatcher) saturated(now time.Time) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open(now) || d.flow.rate(now) < steady || !d.backlog && d.room(now) > 0 {
		return nil
	}
	if d.space == nil {
		d.space = make(chan struct{})
	}
	return d.space
}

// calm reports whether a quarter of the room is free and nothing waits in the store,
// or nothing may begin anyway. The caller holds mu.
func (d *dispatcher) calm(now time.Time) bool {
	return !d.open(now) || !d.backlog && 4*d.taken() <= 3*(d.handler.Concurrency+d.flow.ahead(now))
}

// offer says that a delivery was just stored which nothing was counted for.
func (d *dispatcher) offer(at time.Time) {
	if at.After(time.Now()) {
		d.router.alarm.Set(d.name, at)
		return
	}
	d.due()
}

// begin lets an attempt run that is counted and stored, now or once a slot is
// free. It returns false when nobody would: the caller hands it back.
func (d *dispatcher) begin(t *task) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counting--
	open := d.pushes(time.Now())
	if open && d.running < d.handler.Concurrency {
		d.bytes -= len(t.payload)
		d.spend(1)
		d.run(t)
		return true
	}
	if d.closed {
		d.bytes -= len(t.payload)
		return false
	}
	d.ahead = append(d.ahead, t)
	if !open {
		d.signal() // to be handed back
	}
	return true
}

// run takes a slot for an attempt. The caller holds mu.
func (d *dispatcher) run(t *task) {
	d.running++
	t.closed = d.closes
	d.carried += len(t.payload)
	h := d.handler // a reload may leave none that anything is handed to
	d.router.running.Go(func() { d.work(h, t) })
}

// next returns what the slot of an attempt that has ended is for now, and the
// handler as it is configured; nil when the slot is given back.
func (d *dispatcher) next(ended *task) (*Handler, *task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.flow.count(now)
	d.carried -= len(ended.payload)
	if ended.closed != d.closes {
		d.earlier--
	}
	if len(d.ahead) > 0 && d.running <= d.handler.Concurrency && d.pushes(now) {
		t := d.first()
		t.closed = d.closes
		d.carried += len(t.payload)
		return d.handler, t
	}
	d.running--
	if len(d.ahead) > 0 {
		d.signal() // to be handed back, or begun if the handler takes again by then
	}
	d.freed(now)
	return nil, nil
}

// first takes the attempt that was counted ahead first, of which there is one.
// The caller holds mu.
func (d *dispatcher) first() *task {
	t := d.ahead[0]
	d.ahead[0] = nil
	d.ahead = d.ahead[1:]
	d.bytes -= len(t.payload)
	d.spend(1)
	return t
}

// setPaused pauses or, with "", resumes: at once, and over restarts. What is
// begun is not left half-way, whatever becomes of ctx.
func (d *dispatcher) setPaused(ctx context.Context, reason string) error {
	d.switching.Lock()
	defer d.switching.Unlock()
	d.mu.Lock()
	d.paused = reason
	if reason == "" {
		d.ramp = 0
	}
	d.signal()
	d.mu.Unlock()
	return d.router.store.SetPaused(context.WithoutCancel(ctx), "handler", d.name, reason)
}

// restUntil lets no attempt begin before the given time.
func (d *dispatcher) restUntil(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at.After(d.rest) {
		d.rest = at
		d.closeOff()
	}
	d.signal()
}

// info tells how the handler stands; the queue is what waits for a slot here.
func (d *dispatcher) info() event.HandlerInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.handler
	i := event.HandlerInfo{
		Name: h.Name, Kind: h.Kind, Service: h.Service, Target: h.Target, Concurrency: h.Concurrency,
		InFlight: d.running, Claims: d.router.leases.of(h.Name), Queue: len(d.ahead), Paused: d.paused != "", PauseReason: d.paused,
	}
	if d.rest.After(time.Now()) {
		i.RestUntil = d.rest
	}
	i.BreakerUntil, i.Ramp = d.breaker.until, int(d.ramp)
	i.UnhealthySince, i.HealthProblem = d.health.since, d.health.problem
	i.RateLimited = d.backlog && d.limiter != nil && d.allowed(1) < 1
	return i
}

func (r *Router) quitting() bool {
	select {
	case <-r.quit:
		return true
	default:
		return false
	}
}
