package router

import (
	"context"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/event"
)

// flaw says why the payload of a message does not fit the schema of a route that
// takes it; "" when it does, or there is none.
func (r *compiled) flaw(m *event.Message) string {
	if r.Schema == nil {
		return ""
	}
	return misfit(r.Schema, "route "+r.Name, m.Payload)
}

// misfit says what a schema finds wrong with a payload, "" for nothing. Of is
// what has the schema.
func misfit(c Checker, of string, payload []byte) string {
	if flaw := c.Check(payload); flaw != "" {
		return "the payload does not fit the schema of " + of + ": " + flaw
	}
	return ""
}

// refuse adds a delivery that is ERROR `invalid` to an event: it has a route, but
// its payload is not what the route asks for. It returns the dead letters.
func (r *Router) refuse(e *event.Event, s *event.State, t target, now time.Time) []event.Publication {
	d, entry := park(event.Delivery{Handler: t.handler, Route: t.route}, event.Error, event.Invalid, t.flaw, now)
	s.Timeline, s.Deliveries = append(s.Timeline, entry), append(s.Deliveries, d)
	s.UpdatedBy, s.UpdatedAt = r.service, now
	return r.deadLetters(e, d, t.flaw)
}

// unfit returns why a redrive would hand out a payload that it must not, as an
// [event.ErrConflict]; nil when nothing is in the way. Who names a handler goes
// round the routes, and round their schemas with them; d is what the routes make
// of an event that has no deliveries.
func (r *Router) unfit(ctx context.Context, rec *event.Record, o *event.RedriveOrder, d *decision) error {
	if o.Handler != "" {
		return nil
	}
	for _, t := range d.targets {
		if t.flaw != "" {
			return fmt.Errorf("%s: %w", t.flaw, event.ErrConflict)
		}
	}
	payload, read := o.Payload, o.Payload != nil
	for of, c := range r.checkers(rec, o) {
		if !read {
			var err error
			if payload, err = r.store.Payload(ctx, rec.Seq); err != nil {
				return err
			}
			read = true
		}
		if flaw := misfit(c, of, payload); flaw != "" {
			return fmt.Errorf("%s: %w", flaw, event.ErrConflict)
		}
	}
	return nil
}

// checkers returns the schemas, by what has them, that the payload of a stored
// event must fit to be handed out again: that of its source when no route has had
// it yet, else those of the routes of its deliveries.
func (r *Router) checkers(rec *event.Record, o *event.RedriveOrder) map[string]Checker {
	live, found := r.live.Load(), make(map[string]Checker)
	if c := live.schemas[rec.Source]; c != nil && len(rec.Deliveries) == 0 {
		found["source "+rec.Source] = c
	}
	for i := range rec.Deliveries {
		d := &rec.Deliveries[i]
		if !revives(rec.Status, d, o) {
			continue
		}
		if c := live.schemaOf(d.Route); c != nil {
			found["route "+d.Route] = c
		}
	}
	return found
}

// schemaOf returns the schema of the route of a name; nil for none.
func (t *table) schemaOf(route string) Checker {
	for i := range t.routes {
		if r := &t.routes[i]; r.Name == route {
			return r.Schema
		}
	}
	return nil
}

// unverified reports whether an event is a message whose signature was not
// right: it stands as it came, and nothing that it says of itself was believed. Of
// one that was cancelled nobody knows any more: it may be.
func unverified(rec *event.Record) bool {
	return rec.Reason != event.Undecodable && rec.MessageType == "" && len(rec.Deliveries) == 0
}
