package router

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eventd-io/eventd/event"
)

// Ordered delivery: of the events of a handler with the same order key one is in
// flight at a time, in the order they were stored. Here the key of an event is
// found, once, when the event is routed; it is kept with its delivery. Whose turn
// it is the store decides (storage/lines.go): what it says is due is nobody's
// concern here, but that nothing ordered is counted on arrival, when it is not
// known yet whether others are before it.

// CheckOrderBy returns what is wrong with an `order_by` expression; nil for nothing.
func CheckOrderBy(expression string) error {
	c, err := newConditions()
	if err != nil {
		return err
	}
	_, err = c.compileValue(expression)
	return err
}

// order is what a route says of the order of an event.
type order struct {
	key       string // "" for none
	onFailure event.OnFailure
}

// order evaluates order_by. null, and an empty text, say that there is no order to
// keep; flaw, why it is not known.
func (r *compiled) order(v *view) (o order, flaw string) {
	if r.orderBy == nil {
		return o, ""
	}
	value, err := evaluate(r.orderBy, v)
	if err == nil {
		o.key, err = orderKey(value)
	}
	if err != nil {
		return order{}, cutDetail(fmt.Sprintf("order_by of route %s cannot be evaluated: %v", r.Name, err))
	}
	if o.key != "" {
		o.onFailure = r.OnFailure
	}
	return o, ""
}

// orderKey returns a value as text: what is no text as JSON. A long one is cut and
// has a hash of the whole behind it.
func orderKey(value any) (string, error) {
	key, isText := value.(string)
	switch {
	case value == nil:
		return "", nil
	case !isText:
		b, err := encodeJSON(value)
		if err != nil {
			return "", err
		}
		key = string(b)
	}
	if len(key) <= event.MaxOrderKey {
		return key, nil
	}
	sum := sha256.Sum256([]byte(key))
	hash := "…" + hex.EncodeToString(sum[:16])
	return strings.ToValidUTF8(key[:event.MaxOrderKey-len(hash)], "") + hash, nil
}

// lead returns a delivery that is on its way to a target, ordered as it says.
func (t *target) lead(d event.Delivery) event.Delivery {
	d.Handler, d.Route, d.OrderKey, d.OnFailure = t.handler, t.route, t.key, t.onFailure
	return d
}

func cutDetail(text string) string { return text[:min(len(text), event.MaxDetail)] }

// isRefused reports whether a delivery is one that its route did not make, as its
// payload did not fit, or its order was not known; or may be one, as it was
// cancelled before any attempt.
func isRefused(d event.Delivery) bool {
	if d.Ordered() {
		return false
	}
	return d.Status == event.Error && d.Reason == event.Invalid || d.Reason == event.Cancelled && d.Attempts == 0
}

// refused returns where the deliveries of an event go that were refused: in which
// order the routes that led to them say now, of the payload that goes out from now
// on. Where one names a handler, it goes there without order.
func (r *Router) refused(ctx context.Context, rec *event.Record, o *event.RedriveOrder) (list []target, err error) {
	if o.Handler != "" || !slices.ContainsFunc(rec.Deliveries, isRefused) {
		return nil, nil
	}
	payload := o.Payload
	if payload == nil {
		if payload, err = r.store.Payload(ctx, rec.Seq); err != nil {
			return nil, err
		}
	}
	v := view{message: &event.Message{Event: rec.Event, Payload: payload}, memory: r.newMemory(ctx)}
	routes := r.live.Load().routes
	for _, d := range rec.Deliveries {
		i := slices.IndexFunc(routes, func(x compiled) bool { return x.Name == d.Route })
		if i < 0 || !isRefused(d) || o.Of != "" && d.Handler != o.Of {
			continue
		}
		t := target{handler: d.Handler, route: d.Route}
		t.order, t.flaw = routes[i].order(&v)
		list = append(list, t)
	}
	return list, nil
}

// findOrder gives a delivery that was refused the order that is known of it now.
func findOrder(d *event.Delivery, targets []target) {
	for i := range targets {
		if t := &targets[i]; isRefused(*d) && t.handler == d.Handler && t.route == d.Route {
			d.OrderKey, d.OnFailure = t.key, t.onFailure
		}
	}
}

// wakeTurns lets handlers know that it is the turn of an event which waited for
// others of its order key.
func (r *Router) wakeTurns(steps []*step) {
	var names []string
	for _, x := range steps {
		for _, name := range x.Turns {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	r.wake(names)
}

// turnLoop lets handlers know of turns that have come with no step.
func (r *Router) turnLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case names := <-r.store.TurnsCome():
			r.wake(names)
		}
	}
}

// holdLined parks what waits in line for a handler that is not configured. They
// keep their places: what comes when the handler is back waits behind them.
func (r *Router) holdLined(ctx context.Context, name string) (held int, err error) {
	var after []byte
	for r.dispatcher(name) == nil {
		list, next, err := r.store.Lined(ctx, name, after, page)
		if err != nil {
			return held, err
		}
		n, err := r.holdPage(ctx, list)
		held += n
		if err != nil || next == nil {
			return held, err
		}
		after = next
	}
	return held, nil
}

// OrderHeads returns the events that keep others of their order key waiting: see
// [Ordering]. Errors: [event.ErrNotFound] for an unknown handler.
func (r *Router) OrderHeads(ctx context.Context, handler string, limit int) ([]event.OrderHead, bool, error) {
	if r.dispatcher(handler) == nil {
		return nil, false, fmt.Errorf("handler %q: %w", handler, event.ErrNotFound)
	}
	return r.store.OrderHeads(ctx, handler, limit)
}

// heir is the next of an order key, whose attempt is counted in the commit that
// stores the outcome of the one before: a key is as quick as commits are.
type heir struct {
	dispatcher *dispatcher // has kept a slot
	task       *task
	step       *step // nil when there was none, or he is not to begin yet
}

// bequeath keeps a slot for the next of an order key, where it overtakes nobody.
// With a rate limit there is none to be kept: it may be needed by another.
func (r *Router) bequeath(o *outcome, now time.Time) {
	t := o.task
	if !t.delivery.Ordered() || o.handler.polled() || o.handler.Rate > 0 {
		return
	}
	d := r.dispatcher(o.handler.Name)
	if d == nil || !d.keep(now) {
		return
	}
	h := &heir{dispatcher: d}
	service := d.configured().Service
	o.heir = h
	o.step.Then = func(x *event.Due) *event.Update {
		// What was in flight in a crash is IN_PROGRESS only while it runs.
		if h.step != nil || x.Delivery.Handler != d.name || x.Delivery.NextAttempt.After(now) || x.Delivery.Interruptions > 0 {
			return nil
		}
		h.task = &task{event: x.Event, payload: x.Payload, index: x.Index, delivery: x.Delivery, before: x.Delivery}
		h.step = r.beginStep(h.task, service, now)
		return &h.step.Update
	}
}

// keep keeps the slot of an attempt whose outcome is about to be stored, if nothing
// has been due for long that would be overtaken.
func (d *dispatcher) keep(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.young(now) || !d.open(now) || d.roomBytes() <= 0 || d.breaker.trial(now) || d.ramp > 0 {
		return false
	}
	if d.entrusted(d.handler.Concurrency+d.flow.ahead(now)-d.taken()+d.settling) <= 0 {
		return false
	}
	d.counting++
	return true
}

// waited reports whether something waits for the handler, due or not.
func (d *dispatcher) waited() bool {
	fresh, retries := d.router.store.Waiting(d.name)
	return fresh+retries > 0
}

// inherit lets the next of an order key begin, or gives his slot back. err is why
// nothing was stored.
func (r *Router) inherit(h *heir, err error, now time.Time) {
	if h == nil {
		return
	}
	if h.step == nil || err != nil {
		h.dispatcher.release(0)
		return
	}
	if h.step.Err == nil && h.step.ended {
		r.observer.EventEnded(h.task.event.MessageType, now.Sub(h.task.event.CreatedAt))
	}
	r.wakeTurns([]*step{h.step})
	if h.step.Err != nil || h.task.delivery.Status != event.InProgress {
		h.dispatcher.release(0) // its time is over
		r.takeUpHeld(h.step)
		return
	}
	h.dispatcher.hold(len(h.task.payload))
	if !h.dispatcher.begin(h.task) {
		r.handBack([]*task{h.task}, stopping)
	}
}

// hold counts the payload of an attempt that is about to begin.
func (d *dispatcher) hold(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes += bytes
}

// gatherTime is how long outcomes of heirs are waited for, so that they share a
// commit: else the first of them would have one alone, and the others wait for it.
const gatherTime = 2 * time.Millisecond

// gathering is when enough outcomes have come for a commit.
type gathering struct {
	enough int
	full   chan struct{}
}

// came says how many outcomes wait by now. The caller holds mu.
func (g *gathering) came(n int) {
	if g.full != nil && n >= g.enough {
		close(g.full)
		g.full = nil
	}
}

// gather waits for those that have just inherited a turn, if they are several, and
// for what runs beside them.
func (d *dispatcher) gather(list []*outcome) {
	n := 0
	for _, o := range list {
		if o.heir != nil && o.heir.step != nil {
			n++
		}
	}
	if n < 2 {
		return
	}
	full := make(chan struct{})
	d.mu.Lock()
	d.gathering = gathering{enough: d.running + len(d.outcomes), full: full}
	d.gathering.came(len(d.outcomes))
	d.mu.Unlock()
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-full:
	case <-timer.C:
	case <-d.router.quit:
	}
}
