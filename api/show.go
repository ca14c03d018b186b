package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type showing struct {
	ID string `path:"event_id"`
}

func (s *service) registerShow() {
	register(s, call{method: http.MethodGet, path: "/v1/events/{event_id}", id: "show-event", tag: "events",
		summary: "Show all that is known of one event id", problems: []int{404},
		text: "The same id may stand in several tables, as a request and the response to it do: there is a row for each."}, s.show)
	s.registerPayload()
}

func (s *service) show(ctx context.Context, in *showing) (*out[wire.Detail], error) {
	records, err := s.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	d := wire.Detail{Payloads: []wire.Payload{}, Timeline: []wire.Entry{}, Deliveries: []wire.Delivery{}}
	for i := range records {
		r := &records[i]
		payloads, err := s.Reader.Payloads(ctx, r.Seq)
		if err != nil {
			return nil, s.failure("read payloads", err)
		}
		add(&d, r, payloads)
	}
	slices.SortStableFunc(d.Timeline, func(a, b wire.Entry) int { return a.At.Compare(b.At.Time) })
	return answer(d)
}

func add(d *wire.Detail, r *event.Record, payloads []event.Payload) {
	ref := refOf(r)
	d.Rows = append(d.Rows, rowOf(r))
	for n, p := range payloads {
		d.Payloads = append(d.Payloads, payloadOf(ref, n, p))
	}
	for _, e := range r.Timeline {
		d.Timeline = append(d.Timeline, entryOf(ref, e))
	}
	for _, v := range r.Deliveries {
		d.Deliveries = append(d.Deliveries, deliveryOf(ref, v))
	}
}

// find returns the records of an id in the order they were stored; there is
// at least one, or an error.
func (s *service) find(ctx context.Context, id string) ([]event.Record, error) {
	records, err := s.Reader.Find(ctx, id)
	if err != nil {
		return nil, s.failure("find an event", err)
	}
	if len(records) == 0 {
		return nil, newProblem(http.StatusNotFound, "there is no event %q", id)
	}
	slices.SortFunc(records, func(a, b event.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return records, nil
}

// choice names one of the events that have the same id.
type choice struct {
	id     string
	table  event.Table
	source string
}

// choose returns the one event that is meant, or a problem that lists which
// there are.
func (s *service) choose(ctx context.Context, c choice) (event.Record, error) {
	records, err := s.find(ctx, c.id)
	if err != nil {
		return event.Record{}, err
	}
	fits := slices.DeleteFunc(slices.Clone(records), func(r event.Record) bool {
		return c.table != 0 && r.Table != c.table || c.source != "" && r.SourceService != c.source
	})
	switch len(fits) {
	case 1:
		return fits[0], nil
	case 0:
		return event.Record{}, among(records, newProblem(http.StatusNotFound, "no event %q is in that table and from that service", c.id))
	}
	return event.Record{}, among(fits, newProblem(http.StatusConflict,
		"%d events have the id %q: choose one with table and source_service", len(fits), c.id))
}

// maxCandidates is how many events a problem lists.
const maxCandidates = 100

func among(records []event.Record, p *problem) *problem {
	for i := range min(len(records), maxCandidates) {
		p.Candidates = append(p.Candidates, rowOf(&records[i]))
	}
	return p
}
