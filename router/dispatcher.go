package router

import (
	"context"
	"sync"
	"time"

	"github.com/eventd-io/eventd/event"
)

// A dispatcher's copy of the front of its queue is bounded by a number of tasks
// for each slot and by bytes of payload.
const (
	readyPerSlot = 4
	readyBytes   = 8 << 20
)

// task is one delivery in memory.
type task struct {
	event    *event.Event
	payload  []byte
	index    int            // of the delivery in the event's state
	delivery event.Delivery // as it was last read or written
}

// dispatcher takes what is due for one handler whenever a slot is free.
//
// What is due is in the store. ready is a copy of the front of it; when backlog
// is set there may be more, and nothing new is put into ready directly, so that
// what waits longest goes first.
//
// Whoever lets something begin that could not before - a free slot, something
// due, a resume - signals loop, which looks at everything anew.
type dispatcher struct {
	router *Router
	name   string
	wake   chan struct{}
	ended  chan struct{} // closed when the handler is configured away and nothing runs

	switching sync.Mutex // orders pauses and resumes, in memory and in the store

	mu         sync.Mutex
	handler    *Handler
	retired    bool // configured away; what runs is finished
	over       bool // ended is closed
	running    int  // slots taken
	ready      []*task
	readyBytes int
	backlog    bool
	filling    bool   // ready is being read from the store
	missed     bool   // something came while filling, which the reading may not have seen
	paused     string // why; "" for not
	rest       time.Time
}

func newDispatcher(r *Router, h *Handler) *dispatcher {
	return &dispatcher{
		router: r, name: h.Name, handler: h, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		backlog: true, paused: r.store.Paused("handler", h.Name),
	}
}

func (d *dispatcher) start() {
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
	d.handler, d.retired = h, false
	d.backlog, d.missed = true, true // nobody told it what became due while it was retired
	d.signal()
	return true
}

// retire lets nothing begin any more. It returns true when nothing runs either:
// then the dispatcher has ended.
func (d *dispatcher) retire() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = true
	d.ready, d.readyBytes, d.backlog = nil, 0, true
	d.endIdle()
	return d.over
}

// endIdle ends a retired dispatcher once nothing runs. The caller holds mu.
func (d *dispatcher) endIdle() {
	if d.retired && d.running == 0 && !d.over {
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
	d.backlog, d.missed = true, true
	d.signal()
}

// open reports whether attempts may begin now. The caller holds mu.
func (d *dispatcher) open(now time.Time) bool {
	return !d.retired && d.paused == "" && d.running < d.handler.Concurrency && !now.Before(d.rest)
}

// reserve takes a slot for an event that is about to be stored, if the handler
// is idle: nothing that is due may be overtaken.
func (d *dispatcher) reserve() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.backlog || len(d.ready) > 0 || !d.open(time.Now()) || d.router.quitting() {
		return false
	}
	d.running++
	return true
}

// release gives a slot back.
func (d *dispatcher) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	if len(d.ready) > 0 || d.backlog {
		d.signal()
	}
	d.endIdle()
}

// offer hands over a delivery that was just stored as UNPROCESSED. One that
// does not fit is left to the store.
func (d *dispatcher) offer(t *task) {
	if at := t.delivery.NextAttempt; at.After(time.Now()) {
		d.router.alarm.Set(d.name, at)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.filling:
		d.missed = true
	case d.backlog:
	case len(d.ready) < readyPerSlot*d.handler.Concurrency && d.readyBytes < readyBytes:
		d.ready = append(d.ready, t)
		d.readyBytes += len(t.payload)
	default:
		d.backlog = true
	}
	d.signal()
}

// loop takes what is due until the router or the handler ends.
func (d *dispatcher) loop() {
	for {
		select {
		case <-d.router.quit:
			return
		case <-d.ended:
			return
		case <-d.wake:
		}
		for d.step() {
		}
	}
}

// step begins as many attempts as slots are free. It returns false when there
// is nothing to do before the next wake.
func (d *dispatcher) step() bool {
	if d.router.quitting() {
		return false
	}
	tasks, fill := d.take(time.Now())
	if fill {
		return d.fill()
	}
	return len(tasks) > 0 && d.begin(tasks)
}

// take returns the tasks to begin, their slots taken, or says that the store
// must be read.
func (d *dispatcher) take(now time.Time) (tasks []*task, fill bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.rest) {
		d.router.alarm.Set(d.name, d.rest) // each time: it knows the soonest time only
	}
	if !d.open(now) {
		return nil, false
	}
	if len(d.ready) == 0 {
		d.filling, d.missed = d.backlog, false
		return nil, d.backlog
	}
	n := min(len(d.ready), d.handler.Concurrency-d.running)
	tasks = append(tasks, d.ready[:n]...)
	clear(d.ready[:n])
	d.ready = d.ready[n:]
	if len(d.ready) == 0 {
		d.ready = nil
	}
	for _, t := range tasks {
		d.readyBytes -= len(t.payload)
	}
	d.running += n
	return tasks, false
}

// fill reads the front of the queue from the store. Only loop calls it, and
// only when ready is empty, so that nothing is read that is already at hand.
func (d *dispatcher) fill() bool {
	now := clock()
	list, next, err := d.router.store.Due(d.router.attempts, event.DueQuery{
		Handler: d.name, Now: now, Limit: readyPerSlot * d.configured().Concurrency, Bytes: readyBytes,
	})
	if err != nil {
		return d.later(err, now)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range list {
		x := &list[i]
		d.ready = append(d.ready, &task{event: x.Event, payload: x.Payload, index: x.Index, delivery: x.Delivery})
		d.readyBytes += len(x.Payload)
	}
	more := !next.IsZero() && !next.After(now)
	if !more {
		d.router.alarm.Set(d.name, next)
	}
	d.filling = false
	d.backlog = more || d.missed
	return len(d.ready) > 0 || d.backlog
}

// later leaves the queue in the store for a second after an error of it.
func (d *dispatcher) later(err error, now time.Time) bool {
	if d.router.attempts.Err() == nil {
		d.router.log.Error().Err(err).Str("handler", d.name).Msg("queue cannot be read or written")
	}
	d.mu.Lock()
	d.filling, d.backlog = false, true
	d.mu.Unlock()
	d.router.alarm.Set(d.name, now.Add(time.Second))
	return false
}

// begin counts an attempt of each task, in one commit, and lets them run. It
// returns false after an error of the store.
func (d *dispatcher) begin(tasks []*task) bool {
	now, service := clock(), d.configured().Service
	steps := make([]*step, len(tasks))
	for i, t := range tasks {
		steps[i] = d.router.beginStep(t, service, now)
	}
	if err := d.router.commit(context.WithoutCancel(d.router.attempts), now, steps...); err != nil {
		for range tasks {
			d.release()
		}
		return d.later(err, now)
	}
	for i, t := range tasks {
		if steps[i].Err == nil && t.delivery.Status == event.InProgress {
			d.run(t)
			continue
		}
		d.release() // cancelled, redriven or held meanwhile, or its time is over
		d.router.takeUpHeld(steps[i])
	}
	return true
}

// setPaused pauses or, with "", resumes: at once, and over restarts. What is
// begun is not left half-way, whatever becomes of ctx.
func (d *dispatcher) setPaused(ctx context.Context, reason string) error {
	d.switching.Lock()
	defer d.switching.Unlock()
	d.mu.Lock()
	d.paused = reason
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
	}
	d.signal()
}

func (d *dispatcher) info() event.HandlerInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.handler
	i := event.HandlerInfo{
		Name: h.Name, Kind: h.Kind, Service: h.Service, Target: h.Target, Concurrency: h.Concurrency,
		InFlight: d.running, Paused: d.paused != "", PauseReason: d.paused,
	}
	if d.rest.After(time.Now()) {
		i.RestUntil = d.rest
	}
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
