package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type explaining struct {
	Table   tableParam `query:"table" doc:"As if it stood in this table; request when left out."`
	Service string     `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"The service that would send it."`
	request *http.Request
}

// Resolve implements [huma.Resolver].
func (in *explaining) Resolve(ctx huma.Context) []error {
	in.request, _ = humago.Unwrap(ctx)
	return nil
}

func (s *service) registerExplain() {
	c := call{method: http.MethodPost, path: "/v1/explain", id: "explain", tag: "events",
		summary: "Tell where events would go, and why", problems: []int{400, 408, 413, 415, 422, 503},
		text: eventForms + " Nothing is stored."}
	register(s, c, s.explain)
	s.described(c).RequestBody = s.eventBody()
}

func (s *service) explain(_ context.Context, in *explaining) (*out[wire.Explained], error) {
	table := cmp.Or(in.Table.Table, event.Request)
	msgs, err := s.take(&sent{Service: in.Service, request: in.request}, table)
	if err != nil {
		return nil, err
	}
	explained := wire.Explained{Events: make([]wire.ExplainedEvent, len(msgs))}
	for i := range msgs {
		explained.Events[i] = explanationOf(&msgs[i], s.Explainer.Explain(msgs[i]))
	}
	return answer(explained)
}

func explanationOf(m *event.Message, routes []event.Explanation) wire.ExplainedEvent {
	e := wire.ExplainedEvent{
		EventID: m.ID, MessageType: m.MessageType, Table: m.Table.String(),
		Handlers: []string{}, Routes: orEmpty(routes),
	}
	for _, r := range routes {
		for _, h := range r.Handlers {
			if r.Matched && r.Flaw == "" && !slices.Contains(e.Handlers, h) {
				e.Handlers = append(e.Handlers, h)
			}
		}
	}
	return e
}
