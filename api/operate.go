package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type redriving struct {
	ID            string     `path:"event_id"`
	Table         tableParam `query:"table" doc:"Which one, when several events have the id."`
	SourceService string     `query:"source_service" doc:"Which one, when several events have the id."`
	Service       string     `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who asks; the daemon's own service when left out."`
	Body          *wire.Redrive
}

type cancelling struct {
	ID            string     `path:"event_id"`
	Table         tableParam `query:"table" doc:"Which one, when several events have the id."`
	SourceService string     `query:"source_service" doc:"Which one, when several events have the id."`
	Service       string     `header:"Eventd-Service" maxLength:"256" pattern:"^[ -~]*$" patternDescription:"printable ASCII" doc:"Who asks; the daemon's own service when left out."`
	Body          *wire.Cancel
}

func (s *service) registerOperate() {
	register(s, call{method: http.MethodPost, path: "/v1/events/{event_id}/redrive", id: "redrive-event", tag: "events",
		summary: "Have one event handled again", problems: []int{400, 404, 409, 413, 415, 422, 503}, maxBody: s.MaxBody,
		text: "Begins a new generation: attempts count from 0 again. Of an event with several handlers those deliveries are redriven that have not completed, or the one that is named. The body may be left out."}, s.redrive)
	register(s, call{method: http.MethodPost, path: "/v1/events/{event_id}/cancel", id: "cancel-event", tag: "events",
		summary: "Give one event up", problems: []int{400, 404, 409, 413, 415, 422, 503},
		text: "It becomes FAILED with the reason cancelled; of an event with several handlers what has not ended, or the delivery that is named. The body may be left out."}, s.cancel)
}

func (s *service) redrive(ctx context.Context, in *redriving) (*out[wire.Changed], error) {
	var order wire.Redrive
	if in.Body != nil {
		order = *in.Body
	}
	r, err := s.choose(ctx, choice{in.ID, in.Table.Table, in.SourceService})
	if err != nil {
		return nil, err
	}
	payload, err := payloadBytes(&order, r.ContentType)
	if err != nil {
		return nil, invalid("body.payload", nil, err)
	}
	changed, err := s.Operator.Redrive(ctx, r.Seq, event.RedriveOrder{
		Handler: order.Handler, Of: order.Delivery, Detail: order.Reason, By: cmp.Or(in.Service, s.Service), Payload: payload,
	})
	if err != nil {
		return nil, s.refused(ctx, "redrive an event", r, err)
	}
	return answer(wire.Changed{Event: rowOf(&changed)})
}

func (s *service) cancel(ctx context.Context, in *cancelling) (*out[wire.Changed], error) {
	var order wire.Cancel
	if in.Body != nil {
		order = *in.Body
	}
	r, err := s.choose(ctx, choice{in.ID, in.Table.Table, in.SourceService})
	if err != nil {
		return nil, err
	}
	changed, err := s.Operator.Cancel(ctx, r.Seq, event.CancelOrder{
		Of: order.Delivery, Detail: order.Reason, By: cmp.Or(in.Service, s.Service),
	})
	if err != nil {
		return nil, s.refused(ctx, "cancel an event", r, err)
	}
	return answer(wire.Changed{Event: rowOf(&changed)})
}

// refused adds the status that stands in the way to a conflict, as it is now:
// it may have changed since the event was chosen.
func (s *service) refused(ctx context.Context, doing string, r event.Record, err error) error {
	if !errors.Is(err, event.ErrConflict) {
		return s.failure(doing, err)
	}
	status := r.Status
	if records, err := s.Reader.Find(ctx, r.ID); err == nil {
		for _, now := range records {
			if now.Seq == r.Seq {
				status = now.Status
			}
		}
	}
	p := newProblem(http.StatusConflict, "event %q is %s: %s", r.ID, status, reason(err, r.Seq))
	p.EventStatus = status.String()
	return p
}

// reason is what a conflict says beside that it is one and of which row.
func reason(err error, seq uint64) string {
	text := strings.TrimSuffix(err.Error(), ": "+event.ErrConflict.Error())
	text = strings.TrimPrefix(text, fmt.Sprintf("event %d: ", seq))
	if strings.HasPrefix(text, "it is ") {
		return "that does not allow it"
	}
	return text
}
