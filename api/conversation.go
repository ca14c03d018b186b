package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type conversing struct {
	CorrelationID string `path:"correlation_id"`
	Payloads      bool   `query:"payloads" doc:"With the bodies."`
	Limit         int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"At most so many rows, the oldest."`
}

// maxBodies is how many bytes of bodies a conversation is shown with.
const maxBodies = 4 << 20

func (s *service) registerConversation() {
	register(s, call{method: http.MethodGet, path: "/v1/correlations/{correlation_id}", id: "show-correlation", tag: "working data",
		summary: "Show a whole conversation", problems: []int{404, 422},
		text: "Everything with one correlation id: rows of all tables, payloads, waiting times and working data."}, s.conversation)
}

func (s *service) conversation(ctx context.Context, in *conversing) (*out[wire.Conversation], error) {
	records, next, err := s.Reader.List(ctx, event.Filter{CorrelationID: in.CorrelationID}, event.Page{Limit: in.Limit, OldestFirst: true})
	if err != nil {
		return nil, s.failure("list a conversation", err)
	}
	if len(records) == 0 {
		return nil, newProblem(http.StatusNotFound, "there is no event with the correlation id %q", in.CorrelationID)
	}
	c := wire.Conversation{
		CorrelationID: in.CorrelationID, Rows: make([]wire.Row, len(records)), Payloads: []wire.Payload{},
		Waits: waitsOf(records), Truncated: next != 0,
	}
	budget := 0
	if in.Payloads {
		budget = maxBodies
	}
	for i := range records {
		c.Rows[i] = rowOf(&records[i])
		payloads, err := s.Reader.Payloads(ctx, records[i].Seq)
		if err != nil {
			return nil, s.failure("read payloads", err)
		}
		for n, p := range payloads {
			c.Payloads = append(c.Payloads, within(&budget, payloadOf(refOf(&records[i]), n, p)))
		}
	}
	if c.WorkingData, err = s.workingDataOf(ctx, in.CorrelationID); err != nil {
		return nil, s.failure("get working data", err)
	}
	return answer(c)
}

// within leaves out a body that the budget is too small for.
func within(budget *int, p wire.Payload) wire.Payload {
	if len(p.Payload) > *budget {
		p.Payload, p.Encoding = json.RawMessage("null"), wire.EncodingOmitted
		return p
	}
	*budget -= len(p.Payload)
	return p
}

func (s *service) workingDataOf(ctx context.Context, id string) (*wire.WorkingData, error) {
	d, err := s.Working.WorkingData(ctx, id)
	if errors.Is(err, event.ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, err
	}
	return &wire.WorkingData{
		Document: d.Body, Version: d.Version, ETag: etagOf(&d),
		CreatedBy: d.CreatedBy, CreatedDttm: wire.Time{Time: d.CreatedAt},
		UpdatedBy: d.UpdatedBy, UpdatedDttm: wire.Time{Time: d.UpdatedAt},
	}, nil
}

// waitsOf returns the times between rows, which are in the order they were stored.
func waitsOf(records []event.Record) []wire.Wait {
	waits := []wire.Wait{}
	asked := make(map[string]*event.Record)
	for i := range records {
		r := &records[i]
		if i > 0 {
			waits = append(waits, waitOf(wire.WaitNext, &records[i-1], r))
		}
		switch request := asked[r.ID]; {
		case r.Table == event.Request && request == nil:
			asked[r.ID] = r
		case r.Table == event.Response && request != nil:
			waits = append(waits, waitOf(wire.WaitAnswer, request, r))
			delete(asked, r.ID) // further responses answer nothing that waits
		}
	}
	return waits
}

func waitOf(kind string, from, to *event.Record) wire.Wait {
	return wire.Wait{Kind: kind, From: eventRefOf(from), To: eventRefOf(to), DurationMS: milliseconds(to.CreatedAt.Sub(from.CreatedAt))}
}

func eventRefOf(r *event.Record) wire.EventRef {
	return wire.EventRef{Table: r.Table.String(), SourceService: r.SourceService, EventID: r.ID, MessageType: r.MessageType}
}
