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
type dispatcher struct {
	router *Router
	name   string
	wake   chan struct{}
	ended  chan struct{} // closed when the handler is configured away
	once   sync.Once

	mu         sync.Mutex
	handler    *Handler
	running    int // slots taken
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

func (d *dispatcher) stop() { d.once.Do(func() { close(d.ended) }) }

func (d *dispatcher) gone() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

func (d *dispatcher) configure(h *Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handler = h
	d.signal()
}

func (d *dispatcher) service() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handler.Service
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
	d.missed = true
	d.backlog = true
	d.signal()
}

// open reports whether attempts may be made now. The caller holds mu.
func (d *dispatcher) open(now time.Time) bool {
	return d.paused == "" && !now.Before(d.rest)
}

// reserve takes a slot for an event that is about to be stored, if the handler
// is idle: nothing that is due may be overtaken.
func (d *dispatcher) reserve() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.backlog || len(d.ready) > 0 || d.running >= d.handler.Concurrency || !d.open(time.Now()) || d.gone() {
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
	if d.router.quitting() || d.gone() {
		return false
	}
	tasks, fill := d.take(time.Now())
	if fill {
		return d.fill()
	}
	if len(tasks) == 0 {
		return false
	}
	d.begin(tasks)
	return true
}

// take returns the tasks to begin, their slots taken, or says that the store
// must be read.
func (d *dispatcher) take(now time.Time) (tasks []*task, fill bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open(now) || d.running >= d.handler.Concurrency {
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
		Handler: d.name, Now: now, Limit: readyPerSlot * d.concurrency(), Bytes: readyBytes,
	})
	if err != nil {
		return d.unread(err, now)
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

// unread leaves the queue in the store for a second after an error.
func (d *dispatcher) unread(err error, now time.Time) bool {
	if d.router.attempts.Err() == nil {
		d.router.log.Error().Err(err).Str("handler", d.name).Msg("queue cannot be read")
	}
	d.mu.Lock()
	d.filling, d.backlog = false, true
	d.mu.Unlock()
	d.router.alarm.Set(d.name, now.Add(time.Second))
	return false
}

func (d *dispatcher) concurrency() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handler.Concurrency
}

// begin counts an attempt of each task, in one commit, and lets them run.
func (d *dispatcher) begin(tasks []*task) {
	now := clock()
	service := d.service()
	updates := make([]*event.Update, len(tasks))
	for i, t := range tasks {
		updates[i] = d.router.beginUpdate(t, service, now)
	}
	err := d.router.store.Update(context.WithoutCancel(d.router.attempts), updates...)
	for i, t := range tasks {
		switch {
		case err != nil, updates[i].Err != nil:
			d.release() // cancelled or redriven meanwhile, or the store is broken
		case t.delivery.Status != event.InProgress:
			d.release()
			d.router.observer.EventEnded(t.event.MessageType, now.Sub(t.event.CreatedAt))
		default:
			d.run(t)
		}
	}
}

// setPaused pauses or, with "", resumes.
func (d *dispatcher) setPaused(reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paused = reason
	d.signal()
}

// restUntil lets no attempt begin before the given time.
func (d *dispatcher) restUntil(at time.Time) {
	d.mu.Lock()
	d.rest = at
	d.mu.Unlock()
	d.router.alarm.Set(d.name, at)
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
