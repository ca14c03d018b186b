package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/eventd-io/eventd/event"
	"golang.org/x/time/rate"
)

// jobs runs the redrives of many events, each in a goroutine of its own.
//
// A job goes through the events in the order they were stored. What it takes at
// a time is redriven in the very transaction that notes how far it is, so that a
// crash makes it neither repeat nor skip any.
type jobs struct {
	router *Router

	mu      sync.Mutex
	running map[uint64]*job
	changed chan struct{} // closed when a handler may have become open again
}

// job is a redrive that runs.
type job struct {
	cancel  context.CancelFunc
	waiting string // why it makes no progress; guarded by jobs.mu
}

func newJobs(r *Router) *jobs {
	return &jobs{router: r, running: make(map[uint64]*job), changed: make(chan struct{})}
}

// signal lets jobs look again at what they wait for.
func (js *jobs) signal() {
	js.mu.Lock()
	defer js.mu.Unlock()
	close(js.changed)
	js.changed = make(chan struct{})
}

// unfinished returns the jobs that were running when eventd last ended.
func (js *jobs) unfinished(ctx context.Context) (list []event.Redrive, err error) {
	all, err := js.router.store.Redrives(ctx)
	if err != nil {
		return nil, fmt.Errorf("find unfinished redrives: %w", err)
	}
	for i := range all {
		if all[i].State == event.RedriveRunning {
			list = append(list, all[i])
		}
	}
	return list, nil
}

// start lets a job run. The caller holds the router's mu and it is not stopping.
func (js *jobs) start(j *event.Redrive) {
	ctx, cancel := context.WithCancel(js.router.lifetime)
	js.mu.Lock()
	js.running[j.ID] = &job{cancel: cancel}
	js.mu.Unlock()
	own := *j
	js.router.background.Go(func() {
		defer js.end(own.ID)
		js.run(ctx, &own)
	})
}

func (js *jobs) end(id uint64) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.running[id].cancel()
	delete(js.running, id)
}

// stop ends a job before it is through, if it runs.
func (js *jobs) stop(id uint64) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if j := js.running[id]; j != nil {
		j.cancel()
	}
}

// show adds to a job what only memory knows.
func (js *jobs) show(j *event.Redrive) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if x := js.running[j.ID]; x != nil {
		j.Waiting = x.waiting
	}
}

// run redrives the events of a job until there are no more or ctx ends.
func (js *jobs) run(ctx context.Context, j *event.Redrive) {
	log := js.router.log.With().Uint64("redrive", j.ID).Logger()
	limit, most := jobLimiter(j.Rate)
	batch := most
	for j.State == event.RedriveRunning {
		err := js.advance(ctx, j, limit, batch)
		switch {
		case ctx.Err() != nil || errors.Is(err, event.ErrConflict): // stopped, or cancelled
			return
		case errors.Is(err, event.ErrTooMuch) && batch > 1:
			batch /= 2
		case err != nil:
			log.Error().Err(err).Msg("redrive cannot go on before a restart")
			return
		default:
			batch = min(2*batch, most)
		}
	}
	log.Info().Int("done", j.Done).Int("skipped", j.Skipped).Int("failed", j.Failed).Msg("redrive is through")
}

// jobLimiter keeps a rate in events a second, 0 for none, and says how many events
// are taken at a time: those of a twentieth of a second.
func jobLimiter(perSecond float64) (*rate.Limiter, int) {
	if perSecond == 0 {
		return rate.NewLimiter(rate.Inf, page), page
	}
	batch := min(max(int(perSecond/20), 1), page)
	return rate.NewLimiter(rate.Limit(perSecond), batch), batch
}

// advance takes the next events of a job.
func (js *jobs) advance(ctx context.Context, j *event.Redrive, limit *rate.Limiter, batch int) error {
	r := js.router
	list, next, err := r.store.List(ctx, j.Filter, event.Page{Limit: batch, After: j.Position, OldestFirst: true, Last: j.Last})
	if err != nil {
		return err
	}
	if len(list) == 0 && next != 0 {
		j.Position = next // nothing found so far: to be looked for again after a crash
		return nil
	}
	if len(list) > 0 {
		if err := errors.Join(limit.WaitN(ctx, len(list)), js.await(ctx, j)); err != nil {
			return err
		}
	}
	// What cannot be read counts as failed and is passed over for good, so a
	// stop does not end the reading of a batch.
	ctx = context.WithoutCancel(ctx)
	var due []string
	steps, updates := make([]*step, len(list)), make([]*event.Update, len(list))
	for i := range list {
		steps[i] = r.jobStep(ctx, j, &list[i], &due)
		updates[i] = &steps[i].Update
	}
	err = r.store.AdvanceRedrive(ctx, j.ID, func(stored *event.Redrive) {
		tally(stored, updates)
		if stored.Position = next; next == 0 {
			stored.Position, stored.State = stored.Last, event.RedriveCompleted
		}
		*j = *stored
	}, updates...)
	if err != nil {
		return err
	}
	r.wakeTurns(steps)
	r.wake(slices.Compact(slices.Sorted(slices.Values(due))))
	r.logFailed(steps)
	return nil
}

// tally counts what became of the events of a job.
func tally(j *event.Redrive, updates []*event.Update) {
	for _, u := range updates {
		switch {
		case u.Err == nil:
			j.Done++
		case errors.Is(u.Err, event.ErrConflict) || errors.Is(u.Err, event.ErrNotFound):
			j.Skipped++
		default:
			j.Failed++
		}
	}
}

// jobStep redrives one event of a job, unless it has changed since the job
// began: it was redriven by someone else, or was not selected then. Who is to be
// woken is added to due.
func (r *Router) jobStep(ctx context.Context, j *event.Redrive, rec *event.Record, due *[]string) *step {
	o := j.Order
	o.Job, o.Of = j.ID, j.Filter.Handler
	decided, err := r.targets(ctx, rec, &o)
	if err == nil {
		err = r.unfit(ctx, rec, &o, &decided)
	}
	x := newStep(&rec.Event, func(s *event.State) (*event.Effects, error) {
		if err != nil {
			return nil, err
		}
		if s.UpdatedAt.After(j.Created) {
			return nil, fmt.Errorf("it has changed since redrive %d began: %w", j.ID, event.ErrConflict)
		}
		effects := decided.effects(s, clock())
		if err := redrive(s, o, decided.targets); err != nil {
			return nil, err
		}
		*due = append(*due, unprocessed(s)...)
		return effects, nil
	})
	x.Recalls = decided.recalls(&rec.Event)
	return x
}

// await waits until the handler that a job is about takes events.
func (js *jobs) await(ctx context.Context, j *event.Redrive) error {
	for {
		js.mu.Lock()
		changed := js.changed
		js.mu.Unlock()
		why := js.router.closedTo(j)
		js.mu.Lock()
		js.running[j.ID].waiting = why
		js.mu.Unlock()
		if why == "" {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// closedTo says why the handler that a job is about takes nothing now; "" when
// it does, or the job is about no handler in particular.
func (r *Router) closedTo(j *event.Redrive) string {
	names := j.Handlers()
	if len(names) == 0 {
		return ""
	}
	name := names[len(names)-1] // where the events go
	d := r.dispatcher(name)
	if d == nil {
		return "handler " + name + " is not configured"
	}
	if info := d.info(); info.Paused {
		return "handler " + name + " is paused (" + info.PauseReason + ")"
	}
	return ""
}
