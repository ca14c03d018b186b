package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

type listing struct {
	Table         tableParam  `query:"table"`
	Status        statusParam `query:"status"`
	MessageType   string      `query:"message_type"`
	Handler       string      `query:"handler" doc:"Events with a delivery to it."`
	Route         string      `query:"route" doc:"Events with a delivery from it."`
	Reason        string      `query:"reason" example:"no_route"`
	SourceService string      `query:"source_service"`
	CorrelationID string      `query:"correlation_id"`
	Since         string      `query:"since" doc:"Created at this time (RFC 3339) or later, or not longer ago than a duration." example:"15m"`
	Until         string      `query:"until" doc:"Created before this time (RFC 3339), or longer ago than a duration." example:"2026-01-31T09:00:00Z"`
	Overdue       string      `query:"overdue" doc:"Requests that were sent this duration ago, or longer, and await their response." example:"5m"`
	Order         string      `query:"order" enum:"desc,asc" default:"desc" doc:"desc is newest first."`
	Limit         int         `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor        string      `query:"cursor" doc:"next_cursor of the page before. All filters must be the same as there."`
}

func (s *service) registerList() {
	register(s, call{method: http.MethodGet, path: "/v1/events", id: "list-events", tag: "events",
		summary: "List events", problems: []int{400, 422},
		text: "Every filter that is given must fit. Newest first, unless order says otherwise."}, s.list)
}

func (s *service) list(ctx context.Context, in *listing) (*out[wire.List], error) {
	at, err := in.position(time.Now())
	if err != nil {
		return nil, err
	}
	page := event.Page{Limit: in.Limit, After: at.After, OldestFirst: in.Order == "asc"}
	records, next, err := s.Reader.List(ctx, in.filter(at), page)
	if err != nil {
		return nil, s.failure("list events", err)
	}
	list := wire.List{Events: make([]wire.Row, len(records))}
	for i := range records {
		list.Events[i] = rowOf(&records[i])
	}
	if next != 0 {
		at.After = next
		list.NextCursor = at.encode()
	}
	return answer(list)
}

func (in *listing) filter(at cursor) event.Filter {
	return event.Filter{
		Table: in.Table.Table, Status: in.Status.Status, MessageType: in.MessageType,
		Handler: in.Handler, Route: in.Route, Reason: event.Reason(in.Reason),
		SourceService: in.SourceService, CorrelationID: in.CorrelationID,
		Since: at.Since, Until: at.Until, Unanswered: at.Overdue,
	}
}

// position returns where to begin: where the cursor says, or at the start with
// the bounds of time as they are now.
func (in *listing) position(now time.Time) (cursor, error) {
	if in.Cursor != "" {
		at, err := decodeCursor(in.Cursor, in.fingerprint())
		if err != nil {
			return cursor{}, newProblem(http.StatusBadRequest, "%v", err).at("query.cursor", in.Cursor)
		}
		return at, nil
	}
	since, err := parseWhen(in.Since, now)
	if err != nil {
		return cursor{}, invalid("query.since", in.Since, err)
	}
	until, err := parseWhen(in.Until, now)
	if err != nil {
		return cursor{}, invalid("query.until", in.Until, err)
	}
	if !since.IsZero() && !until.IsZero() && !until.After(since) {
		return cursor{}, invalid("query.until", in.Until, errors.New("until is not after since"))
	}
	at := cursor{Since: since, Until: until, Filter: in.fingerprint()}
	if in.Overdue != "" {
		ago, err := time.ParseDuration(in.Overdue)
		if err != nil || ago < 0 {
			return cursor{}, invalid("query.overdue", in.Overdue, errors.New("not a duration such as 5m"))
		}
		at.Overdue = now.Add(-ago).UTC()
	}
	return at, nil
}

// fingerprint is the same for the same filters and order, as they were written.
func (in *listing) fingerprint() string {
	return event.DeriveID(in.Table.String(), in.Status.String(), in.MessageType, in.Handler, in.Route,
		in.Reason, in.SourceService, in.CorrelationID, in.Since, in.Until, in.Order, in.Overdue)
}

var errWhen = errors.New("neither a time such as 2026-01-31T09:00:00Z nor a duration such as 15m")

// parseWhen reads a time, or how long ago it was. It returns the zero time for "".
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago).UTC(), nil
	}
	// A plus sign that was not escaped arrives as a space.
	at, err := time.Parse(time.RFC3339, strings.Replace(s, " ", "+", 1))
	if err != nil {
		return time.Time{}, errWhen
	}
	return at.UTC(), nil
}
