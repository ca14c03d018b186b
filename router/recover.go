package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/retry"
)

// page is how many events are taken up at a time after a crash or a reload.
const page = 256

// recover settles the attempts that were running when eventd last ended. Each
// counts, and is tried again as the policy says.
func (r *Router) recover(ctx context.Context) error {
	total, after := 0, uint64(0)
	for {
		seqs, err := r.store.Inflight(ctx, after, page)
		if err != nil {
			return fmt.Errorf("find interrupted events: %w", err)
		}
		if len(seqs) == 0 {
			break
		}
		after = seqs[len(seqs)-1]
		n, err := r.interruptAll(ctx, seqs)
		if err != nil {
			return fmt.Errorf("settle interrupted events: %w", err)
		}
		total += n
	}
	if total > 0 {
		r.log.Warn().Int("events", total).Msg("attempts interrupted by the last end are counted and scheduled again")
	}
	return nil
}

// interruptAll settles the interrupted attempts of several events in one commit
// and returns how many events that are. One that cannot be read is logged and left.
func (r *Router) interruptAll(ctx context.Context, seqs []uint64) (int, error) {
	now := clock()
	steps := make([]*step, 0, len(seqs))
	for _, seq := range seqs {
		rec, err := r.store.Get(ctx, seq)
		if err != nil {
			r.log.Error().Err(err).Uint64("seq", seq).Msg("event cannot be taken up")
			continue
		}
		if !r.keepLeases(&rec) {
			continue
		}
		steps = append(steps, newStep(&rec.Event, func(s *event.State) (*event.Effects, error) {
			return r.interrupt(&rec.Event, s, now), nil
		}))
	}
	if len(steps) == 0 {
		return 0, nil
	}
	if err := r.commit(ctx, now, steps...); err != nil {
		return 0, err
	}
	r.logFailed(steps)
	return len(steps), nil
}

// keepLeases notes the claims of an event, which outlast a restart, and reports
// whether it has an attempt beside them that was interrupted.
func (r *Router) keepLeases(rec *event.Record) (interrupted bool) {
	for i := range rec.Deliveries {
		d := &rec.Deliveries[i]
		switch {
		case d.Status != event.InProgress:
		case d.NextAttempt.IsZero():
			interrupted = true
		default:
			r.leases.set(leased{seq: rec.Seq, index: i, handler: d.Handler, until: d.NextAttempt})
		}
	}
	return interrupted
}

// logFailed logs the steps that failed for another reason than that the event
// has gone on meanwhile.
func (r *Router) logFailed(steps []*step) {
	for _, x := range steps {
		if x.Err != nil && !errors.Is(x.Err, event.ErrConflict) {
			r.log.Error().Err(x.Err).Uint64("seq", x.Seq).Msg("event cannot be taken up")
		}
	}
}

func (r *Router) interrupt(e *event.Event, s *event.State, now time.Time) *event.Effects {
	effects := &event.Effects{}
	s.UpdatedBy, s.UpdatedAt = r.service, now
	for i := range s.Deliveries {
		d := &s.Deliveries[i]
		if d.Status != event.InProgress || !d.NextAttempt.IsZero() { // or claimed
			continue
		}
		policy := retry.Default()
		if h := r.dispatcher(d.Handler); h != nil {
			policy = h.configured().Policy
		}
		var entry event.Entry
		*d, entry = interrupted(*d, policy, now, chance())
		*d = notBeyond(*d, e)
		s.Timeline = append(s.Timeline, entry)
		effects.Outbox = append(effects.Outbox, r.deadLetters(e, *d, entry.Detail)...)
	}
	return effects
}
