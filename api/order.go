package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type orderIn struct {
	Name  string `path:"name"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most."`
}

func (s *service) registerOrder() {
	register(s, call{method: http.MethodGet, path: "/v1/handlers/{name}/order", id: "order", tag: "handlers",
		summary: "Order keys that wait",
		text: "The events that keep the later ones with the same order_by waiting: those that are ERROR or FAILED " +
			"first, which do so until somebody redrives or cancels them, then those that wait for a retry.",
		problems: []int{404, 422, 503}}, s.order)
}

func (s *service) order(ctx context.Context, in *orderIn) (*out[wire.Order], error) {
	heads, more, err := s.Ordering.OrderHeads(ctx, in.Name, in.Limit)
	if errors.Is(err, event.ErrNotFound) {
		return nil, newProblem(http.StatusNotFound, "no handler is named %q", in.Name)
	}
	if err != nil {
		return nil, s.failure("show order keys", err)
	}
	list := make([]wire.OrderHead, len(heads))
	for i := range heads {
		list[i] = headOf(&heads[i])
	}
	return answer(wire.Order{Handler: in.Name, Keys: list, More: more})
}

func headOf(h *event.OrderHead) wire.OrderHead {
	d := &h.Record.Deliveries[h.Delivery]
	return wire.OrderHead{
		OrderKey: h.Key, OnFailure: d.OnFailure.String(), Table: h.Record.Table.String(), SourceService: h.Record.SourceService,
		EventID: h.Record.ID, Status: statusName(d.Status), Reason: string(d.Reason), Attempts: d.Attempts,
		NextAttemptDttm: wire.Time{Time: d.NextAttempt}, UpdatedDttm: wire.Time{Time: h.Record.UpdatedAt},
		Waiting: h.Waiting, WaitingMore: h.More,
	}
}
