package router

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eventd-io/eventd/event"
)

// StartRedrive stores a job that redrives the events its filter selects, and
// lets it run: over restarts, and each event once. Without a status in the
// filter it is about dead letters: ERROR and FAILED. ID, State, Created and Last
// are filled in. Errors: [event.ErrNotFound] for an unknown handler,
// [event.ErrConflict] while another job may be about the same handler.
func (r *Router) StartRedrive(ctx context.Context, j *event.Redrive) error {
	if err := r.checkRedrive(j); err != nil {
		return err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.stopping || !r.started {
		return event.ErrUnavailable
	}
	if err := r.store.AddRedrive(ctx, j); err != nil {
		return err
	}
	r.log.Info().Uint64("redrive", j.ID).Str("by", j.Order.By).Str("reason", j.Order.Detail).Msg("redrive begins")
	r.jobs.start(j)
	return nil
}

// checkRedrive completes a job and refuses one for handlers that are not there.
func (r *Router) checkRedrive(j *event.Redrive) error {
	j.Filter.DeadLetters = j.Filter.Status == 0
	names := j.Handlers()
	if len(names) > 0 && r.dispatcher(names[len(names)-1]) == nil {
		return fmt.Errorf("handler %q: %w", names[len(names)-1], event.ErrNotFound)
	}
	return nil
}

// planTime is how long a dry run may count.
const planTime = 5 * time.Second

// PlanRedrive tells what a job would be about, without changing anything. It
// counts for some seconds at most. Errors: as [Router.StartRedrive].
func (r *Router) PlanRedrive(ctx context.Context, j *event.Redrive) (*event.RedrivePlan, error) {
	if err := r.checkRedrive(j); err != nil {
		return nil, err
	}
	p := &event.RedrivePlan{
		ByStatus: map[string]int{}, ByMessageType: map[string]int{}, ByHandler: map[string]int{}, ByReason: map[string]int{},
	}
	q := event.Page{Limit: 1000, OldestFirst: true}
	for until := time.Now().Add(planTime); ; {
		list, next, err := r.store.List(ctx, j.Filter, q)
		if err != nil {
			return nil, err
		}
		for i := range list {
			count(p, &list[i], j.Filter.Handler)
		}
		if next == 0 {
			p.Complete = true
			return p, nil
		}
		if time.Now().After(until) {
			return p, nil
		}
		q.After = next
	}
}

// count adds an event to a plan; of its deliveries those to a handler, "" for
// all. An event whose delivery to that handler is not to be redriven is left out.
func count(p *event.RedrivePlan, rec *event.Record, handler string) {
	meant := func(d event.Delivery) bool {
		return (handler == "" || d.Handler == handler) && (d.Status != event.Completed || rec.Status == event.Completed)
	}
	if handler != "" && !slices.ContainsFunc(rec.Deliveries, meant) {
		return
	}
	p.Events++
	p.ByStatus[rec.Status.String()]++
	tick(p.ByMessageType, rec.MessageType)
	tick(p.ByReason, string(rec.Reason))
	for i := range rec.Deliveries {
		if meant(rec.Deliveries[i]) {
			tick(p.ByHandler, rec.Deliveries[i].Handler)
		}
	}
	if len(p.Samples) < event.MaxPlanSamples {
		p.Samples = append(p.Samples, *rec)
	}
}

func tick(counts map[string]int, name string) {
	if _, known := counts[name]; !known && len(counts) >= event.MaxPlanNames {
		name = ""
	}
	counts[name]++
}

// Redrives returns the jobs, oldest first: those that run, and the last of those
// that have ended.
func (r *Router) Redrives(ctx context.Context) ([]event.Redrive, error) {
	list, err := r.store.Redrives(ctx)
	for i := range list {
		r.jobs.show(&list[i])
	}
	return list, err
}

// ShowRedrive returns a job as it stands; [event.ErrNotFound] if there is none.
func (r *Router) ShowRedrive(ctx context.Context, id uint64) (*event.Redrive, error) {
	j, err := r.store.Redrive(ctx, id)
	if err == nil {
		r.jobs.show(j)
	}
	return j, err
}

// CancelRedrive ends a job: what is redriven so far stays so. Errors:
// [event.ErrNotFound]; [event.ErrConflict] when it has ended already.
func (r *Router) CancelRedrive(ctx context.Context, id uint64) (*event.Redrive, error) {
	err := r.store.AdvanceRedrive(ctx, id, func(j *event.Redrive) { j.State = event.RedriveCancelled })
	if err != nil {
		return nil, err
	}
	r.jobs.stop(id)
	return r.store.Redrive(context.WithoutCancel(ctx), id)
}
