package router

import (
	"context"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// stopping is why what is counted is not sent at the end.
const stopping = "eventd is stopping"

// closedOff is why what is counted is not sent before.
const closedOff = "the handler is paused, resting, failing, not well, configured away or polled"

// loop takes what is due until the router or the handler ends.
func (d *dispatcher) loop() {
	defer d.close()
	for {
		select {
		case <-d.router.quit:
			return
		case <-d.ended:
			return
		case <-d.wake:
		}
		d.announce()
		for d.step() {
		}
	}
}

// close hands back what is still counted ahead. From now on who counts an
// attempt does so himself.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	list := d.takeBack()
	h := d.handler
	d.mu.Unlock()
	if x, ok := h.Deliverer.(interface{ Hurry() }); ok {
		x.Hurry()
	}
	d.handBack(list, stopping)
}

// takeBack empties ahead. The caller holds mu.
func (d *dispatcher) takeBack() []*task {
	list := d.ahead
	d.ahead = nil
	d.counting += len(list) // until they are handed back
	return list
}

// step does what can be done now. It returns false when that is nothing before
// the next wake.
func (d *dispatcher) step() bool {
	now := time.Now()
	back, n := d.look(now)
	if len(back) > 0 {
		d.handBack(back, closedOff)
		return true
	}
	return n > 0 && d.fill(n)
}

// look returns what is to be handed back, or how many attempts there is room
// for, which is then reserved, and something due in the store.
func (d *dispatcher) look(now time.Time) (back []*task, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.router.alarm.Set(d.name, d.reopens(now)) // each time: it knows the soonest time only
	if !d.pushes(now) {
		if x, ok := d.handler.Deliverer.(interface{ Withdraw() }); ok {
			x.Withdraw()
		}
		return d.takeBack(), 0
	}
	for len(d.ahead) > 0 && d.running < d.handler.Concurrency { // more slots, or a stop that is over already
		d.run(d.first())
	}
	n = d.room(now)
	if !d.backlog || n <= 0 {
		return nil, 0
	}
	if d.young(now) {
		n -= n / 2 // the rest is for what comes meanwhile
	}
	d.counting += n
	d.missed = false
	return nil, n
}

// fill reads the front of the queue from the store and lets it begin. Room for
// n attempts is reserved. It returns false when the rest must wait.
func (d *dispatcher) fill(n int) bool {
	now := clock()
	list, next, err := d.front(d.router.attempts, event.DueQuery{
		Handler: d.name, Now: now, Limit: n, Bytes: d.portion(),
	})
	tasks := make([]*task, 0, len(list))
	for i := range list {
		x := &list[i]
		tasks = append(tasks, &task{event: x.Event, payload: x.Payload, index: x.Index, delivery: x.Delivery, before: x.Delivery})
	}
	if err == nil {
		tasks = d.cautious(tasks, n)
		err = d.count(tasks, d.countPatience(tasks, n), now)
	}
	if err != nil {
		return d.later(err, now, n)
	}
	oldest, more := next, !next.IsZero() && !next.After(now)
	if len(tasks) < len(list) {
		oldest, more = sooner(next, list[len(tasks)].Delivery.NextAttempt), true
	}
	if !more {
		d.router.alarm.Set(d.name, next)
		oldest = now // of what may have come since
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counting -= n - len(tasks)
	d.backlog, d.oldest = more || d.missed, oldest
	d.relieved(now)
	// Without rows those that were due were damaged and are taken out. Rows that are
	// not begun wait for a slot.
	return (len(tasks) > 0 || len(list) == 0) && d.backlog && d.thirsty(time.Now())
}

// cautious cuts off the first task, and all behind it, that was in flight in a
// crash and would be counted ahead of a slot: after the third crash in a row it
// counts as poison, so it must not be in flight but while it runs. Room for n is
// reserved for them.
func (d *dispatcher) cautious(tasks []*task, n int) []*task {
	d.mu.Lock()
	defer d.mu.Unlock()
	free := d.handler.Concurrency - (d.taken() - d.settling - n) // what others have counted may begin first
	for i, t := range tasks {
		if t.delivery.Interruptions > 0 && i >= free {
			return tasks[:i]
		}
	}
	return tasks
}

// later leaves the queue in the store for a second after an error of it.
func (d *dispatcher) later(err error, now time.Time, reserved int) bool {
	if d.router.attempts.Err() == nil {
		d.router.log.Error().Err(err).Str("handler", d.name).Msg("queue cannot be read or written")
	}
	d.mu.Lock()
	d.counting -= reserved
	d.backlog = true
	d.relieved(now)
	d.mu.Unlock()
	d.router.alarm.Set(d.name, now.Add(time.Second))
	return false
}

// countPatience returns how long the counts of attempts may wait for a commit to share.
// That of a few retries, which nobody waits for to the millisecond, or of attempts that
// take long, does not take one from what comes in. Room for n is reserved for them.
func (d *dispatcher) countPatience(tasks []*task, n int) time.Duration {
	d.mu.Lock()
	slow := d.lastSlow
	d.mu.Unlock()
	fresh := func(t *task) bool { return t.delivery.Status != event.Retry }
	if !slow && (2*len(tasks) > n || slices.ContainsFunc(tasks, fresh)) {
		return 0
	}
	return settlePatience
}

// count counts an attempt of each task, in one commit, which may wait so long for
// others to share it, and lets them run. After an error none is known to be counted.
func (d *dispatcher) count(tasks []*task, patience time.Duration, now time.Time) error {
	if len(tasks) == 0 {
		return nil
	}
	service := d.configured().Service
	steps := make([]*step, len(tasks))
	for i, t := range tasks {
		steps[i] = d.router.beginStep(t, service, now)
	}
	if err := d.router.commitWithin(context.WithoutCancel(d.router.attempts), patience, now, steps...); err != nil {
		return err
	}
	for i, t := range tasks {
		d.mu.Lock()
		d.bytes += len(t.payload)
		d.mu.Unlock()
		if steps[i].Err != nil || t.delivery.Status != event.InProgress {
			d.release(len(t.payload)) // cancelled, redriven or held meanwhile, or its time is over
			d.router.takeUpHeld(steps[i])
			continue
		}
		d.begin(t) // loop, which calls this, has not ended
	}
	return nil
}

// handBack returns to the store what was counted ahead and is not sent. Its
// room is reserved until then.
func (d *dispatcher) handBack(list []*task, why string) {
	if len(list) == 0 {
		return
	}
	d.router.handBack(list, why)
	d.mu.Lock()
	d.counting -= len(list)
	d.fair.forget() // they wait again where the search may have passed by
	for _, t := range list {
		d.bytes -= len(t.payload)
	}
	d.endIdle()
	d.mu.Unlock()
	d.due()
	if d.router.dispatcher(d.name) == nil {
		d.router.reconcileSoon() // they wait for nobody
	}
}

// handBack makes attempts that were counted, and not made, uncounted.
func (r *Router) handBack(list []*task, why string) {
	if len(list) == 0 {
		return
	}
	now := clock()
	steps := make([]*step, len(list))
	for i, t := range list {
		steps[i] = r.uncountStep(t, why, now)
	}
	if err := r.commit(context.WithoutCancel(r.attempts), now, steps...); err != nil {
		r.log.Error().Err(err).Int("events", len(list)).Msg("attempts that are not made stay counted")
		return
	}
	r.logFailed(steps)
}
