package handler

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// MaxBatch is how many bytes of events are sent in one request. An event that is
// larger goes alone.
const MaxBatch = 1 << 20

// BatchOptions configure a [Batch].
type BatchOptions struct {
	HTTPOptions               // of each request; Format and Async mean nothing
	Max         int           // events in a request, at least 1
	Wait        time.Duration // how long the first of a batch that is not full waits for company
	Requests    int           // at the same time, at least 1
}

// Batch posts several events in one request, as a CloudEvents batch in JSON. Each
// has an answer of its own: see results.go.
//
// Deliver takes one event as any other handler does, and blocks until there is
// an answer for it. The events that are in Deliver at the same time are what
// batches are made of: so Max times Requests calls should be possible. One of the
// callers makes the request for all; there is no goroutine beside them. A
// deadline runs from when the request is made: an event may have waited before.
type Batch struct {
	http     *HTTP
	post     func(context.Context, []*element, time.Time) []event.Answer
	max      int
	requests int

	mu      sync.Mutex
	wait    time.Duration
	waiting []*element // what came first goes first
	bytes   int        // of what waits
	running int        // requests
	timer   *time.Timer
	armed   *element // what the timer is set for
}

// element is one event of a batch.
type element struct {
	attempt *event.Attempt
	body    []byte
	source  string // CloudEvents source in the body
	since   time.Time
	turn    chan []*element // gets the batch that its caller is to send
	answer  chan event.Answer
}

// NewBatch returns a handler that has no connection yet. Close it after use.
func NewBatch(o BatchOptions) (*Batch, error) {
	o.Async = 0
	h, err := NewHTTP(o.HTTPOptions)
	if err != nil {
		return nil, err
	}
	b := &Batch{http: h, post: h.sendBatch, max: max(o.Max, 1), wait: o.Wait, requests: max(o.Requests, 1)}
	b.timer = time.AfterFunc(time.Hour, b.ring)
	b.timer.Stop()
	return b, nil
}

// Kind returns "http" or "unix".
func (b *Batch) Kind() string { return b.http.Kind() }

// Target returns the endpoint for people: without user, password and query.
func (b *Batch) Target() string { return b.http.Target() }

// Health is that of [HTTP].
func (b *Batch) Health(path string, timeout time.Duration) (*Health, error) {
	return b.http.Health(path, timeout)
}

// Hurry has what waits for company sent, and all that comes later without
// waiting: no more may come.
func (b *Batch) Hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wait = 0
	b.start(time.Now())
}

// Withdraw gives back what waits for company or a request: the handler takes
// nothing now.
func (b *Batch) Withdraw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdraw()
}

// withdraw is Withdraw for who holds mu.
func (b *Batch) withdraw() {
	for _, e := range b.waiting {
		e.answer <- event.Answer{Outcome: event.Unsent}
	}
	b.waiting, b.bytes = nil, 0
}

// Close hurries, and closes idle connections. Those in use end with their request.
func (b *Batch) Close() {
	b.Hurry()
	b.http.Close()
}

// Deliver sends the event in a batch, once.
func (b *Batch) Deliver(ctx context.Context, a *event.Attempt) event.Answer {
	if a.Event.MessageType == "" {
		return event.Answer{Outcome: event.Never, Reason: event.Undecodable, Detail: "an event without message type is no CloudEvent and has no place in a batch"}
	}
	e := &element{attempt: a, since: time.Now(), turn: make(chan []*element, 1), answer: make(chan event.Answer, 1)}
	e.body, e.source = envelope.EncodeElement(a, b.http.source)
	b.add(e)
	ended := ctx.Done()
	for {
		select {
		case batch := <-e.turn:
			b.send(ctx, batch)
		case answer := <-e.answer:
			return answer
		case <-ended:
			if b.leave(e) {
				return event.Answer{Outcome: event.Again, Reason: event.Interrupted, Detail: "eventd ended before it was sent"}
			}
			ended = nil // it is in a batch, whose request ends soon
		}
	}
}

func (b *Batch) add(e *element) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, e)
	b.bytes += len(e.body)
	b.start(e.since)
}

// leave takes out what waits. It returns false when it no longer does.
func (b *Batch) leave(e *element) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, x := range b.waiting {
		if x == e {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.bytes -= len(e.body)
			return true
		}
	}
	return false
}

// ring is called by the timer.
func (b *Batch) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = nil
	b.start(time.Now())
}

// start has the batches sent that are full, or have waited, as long as requests
// may be made. The caller holds mu.
func (b *Batch) start(now time.Time) {
	for len(b.waiting) > 0 && b.running < b.requests {
		first := b.waiting[0]
		if waited := now.Sub(first.since); !b.full() && waited < b.wait {
			if b.armed != first {
				b.armed = first
				b.timer.Reset(b.wait - waited)
			}
			return
		}
		batch, rest := pick(b.waiting, b.max)
		b.waiting = rest
		for _, e := range batch {
			b.bytes -= len(e.body)
		}
		b.running++
		first.turn <- batch
	}
}

// full reports whether there is nothing to wait for. The caller holds mu.
func (b *Batch) full() bool {
	return len(b.waiting) >= b.max || b.bytes >= MaxBatch || b.waiting[0].attempt.Alone
}

// pick takes the next batch from what waits: in order, at most so many, no more
// than [MaxBatch] bytes but one event always, and no two with the same id, by
// which answers name them. What is to go alone does.
func pick(waiting []*element, most int) (batch, rest []*element) {
	batch = make([]*element, 0, min(most, len(waiting)))
	ids := make(map[string]bool, cap(batch))
	rest = waiting[:0]
	size := len("[]")
	for i, e := range waiting {
		size += len(e.body) + len(",")
		alone := e.attempt.Alone || len(batch) > 0 && batch[0].attempt.Alone
		if len(batch) == most || len(batch) > 0 && (alone || size > MaxBatch) {
			rest = append(rest, waiting[i:]...)
			break
		}
		if id := e.attempt.Event.ID; ids[id] {
			size -= len(e.body) + len(",")
			rest = append(rest, e)
		} else {
			ids[id] = true
			batch = append(batch, e)
		}
	}
	clear(waiting[len(rest):])
	return batch, rest
}

// send makes the request of a batch and tells each its answer. One that asks for
// a rest or a pause is for all that waits, too.
func (b *Batch) send(ctx context.Context, batch []*element) {
	began := time.Now()
	answers := b.post(ctx, batch, began.Add(b.http.timeout))
	took := time.Since(began)
	over := false
	for i, e := range batch {
		answers[i].Took = took
		over = over || answers[i].Rest > 0 || answers[i].Pause
		e.answer <- answers[i]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	if over {
		b.withdraw()
	}
	b.start(time.Now())
}

// sendBatch posts a batch once and returns the answer for each event.
func (h *HTTP) sendBatch(ctx context.Context, batch []*element, deadline time.Time) []event.Answer {
	r := batchReply{http: h}
	var all event.Answer
	if c, err := h.pool.get(ctx, deadline); err != nil {
		all = broken(ctx, h.timeout, err)
	} else {
		bodies := make([][]byte, len(batch))
		for i, e := range batch {
			bodies[i] = e.body
		}
		var body []byte
		c.fields, body = envelope.EncodeBatch(c.fields, batchID(batch), bodies)
		all = h.send(ctx, c, body, &r)
	}
	if all.Outcome == event.Done {
		return h.spread(all, &r, batch)
	}
	return alike(all, len(batch))
}

// batchID names a request: the same events in the same order have the same one.
func batchID(batch []*element) string {
	parts := make([]string, 0, 1+3*len(batch))
	parts = append(parts, "batch")
	for _, e := range batch {
		a := e.attempt
		parts = append(parts, strconv.FormatUint(a.Event.Seq, 10), a.Event.ID, strconv.Itoa(a.Generation))
	}
	return event.DeriveID(parts...)
}
