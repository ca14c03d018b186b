package api_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// OrderHeads knows one handler, and as many keys as events.
func (f *fake) OrderHeads(_ context.Context, handler string, limit int) (list []event.OrderHead, more bool, err error) {
	if f.err != nil {
		return nil, false, f.err
	}
	if handler != "service-a" {
		return nil, false, fmt.Errorf("handler %q: %w", handler, event.ErrNotFound)
	}
	for i := range f.records {
		if more = len(list) == limit; more {
			break
		}
		list = append(list, event.OrderHead{Handler: handler, Key: f.records[i].Deliveries[0].OrderKey, Record: f.records[i], Waiting: 7})
	}
	return list, more, nil
}

func TestOrderKeysThatWait(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := newFake()
	for i, key := range []string{"acc-1", "acc-2"} {
		f.records = append(f.records, event.Record{
			Event: event.Event{Seq: uint64(i + 1), ID: fmt.Sprint("e", i), Table: event.Inbound, SourceService: "UP"},
			State: event.State{UpdatedAt: at, Deliveries: []event.Delivery{{
				Handler: "service-a", Status: event.Error, Reason: event.Rejected, Attempts: 1, OrderKey: key, OnFailure: event.Block,
			}}},
		})
	}
	h := serve(f)
	got := want[wire.Order](t, ask(h, http.MethodGet, "/v1/handlers/service-a/order?limit=1", ""), http.StatusOK)
	if len(got.Keys) != 1 || !got.More || got.Handler != "service-a" {
		t.Fatalf("answer = %+v; want one of two", got)
	}
	wanted := wire.OrderHead{
		OrderKey: "acc-1", OnFailure: "block", Table: "inbound", SourceService: "UP", EventID: "e0",
		Status: "ERROR", Reason: "rejected", Attempts: 1, UpdatedDttm: wire.Time{Time: at}, Waiting: 7,
	}
	if got.Keys[0] != wanted {
		t.Errorf("key = %+v; want %+v", got.Keys[0], wanted)
	}
	wantProblem(t, ask(h, http.MethodGet, "/v1/handlers/nobody/order", ""), http.StatusNotFound, "no handler is named")
	wantProblem(t, ask(h, http.MethodGet, "/v1/handlers/service-a/order?limit=0", ""), http.StatusUnprocessableEntity, "")
}
