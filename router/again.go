package router

import (
	"context"

	"github.com/eventd-io/eventd/event"
)

// undecoded reports whether an event is a message that was no event in any form.
func undecoded(s *event.State) bool {
	return s.Status == event.Error && s.Reason == event.Undecodable && len(s.Deliveries) == 0
}

// decodedAgain is the step that ends what could not be decoded, and the event that it
// turned out to be.
type decodedAgain struct {
	*step
	plan *plan
}

// decodeAgain decodes what could not be, as its source is configured now. When it is
// an event by now that has a route, it is stored as a new one, and what it came as is
// COMPLETED with the same commit. It is not ok otherwise.
func (r *Router) decodeAgain(ctx context.Context, rec *event.Record, w *memory) (x decodedAgain, ok bool) {
	live := r.live.Load()
	decode := live.decoders[rec.Source]
	if decode == nil {
		return x, false
	}
	payload, err := r.store.Payload(ctx, rec.Seq)
	if err != nil {
		return x, false
	}
	m := decode(&rec.Event, payload)
	if m.Problem != "" {
		return x, false
	}
	if c := live.schemas[rec.Source]; c != nil {
		if m.Detail = misfit(c, "source "+rec.Source, m.Payload); m.Detail != "" {
			m.Problem = event.Invalid
		}
	}
	if m.ID == rec.ID { // by its place in the stream, which both have
		m.ID = event.DeriveID(rec.ID, "decoded again")
	}
	now := clock()
	if r.complete(ctx, &m, now) != nil {
		return x, false
	}
	if m.CausationID == "" {
		m.CausationID = rec.ID
	}
	p := r.planAs(&plan{slotless: true}, &m, w, now) // the commit may have to wait for space
	if p.State.Reason == event.NoRoute {
		return x, false
	}
	x.plan = p
	x.step = newStep(&rec.Event, func(s *event.State) (*event.Effects, error) {
		if !undecoded(s) {
			return nil, event.ErrConflict
		}
		s.Status, s.Reason, s.UpdatedBy, s.UpdatedAt = event.Completed, "", r.service, now
		s.Timeline = append(s.Timeline, event.Entry{At: now, Status: event.Completed,
			Detail: "decoded as the configuration says now: it is event " + m.ID + " of table " + m.Table.String()})
		return &event.Effects{FollowUps: []*event.Admission{&p.Admission}}, nil
	})
	x.Bytes = len(p.Payload) + followUpBytes
	if p.Remember != nil {
		x.Recalls = []string{p.Event.CorrelationID}
	}
	return x, true
}

// begun lets the deliveries of an event that was decoded again begin, if it is stored.
// It was counted as received when it came.
func (r *Router) begun(list []decodedAgain) {
	for _, x := range list {
		if x.Err == nil && !x.plan.Duplicate {
			r.goOn(x.plan)
		}
	}
}
