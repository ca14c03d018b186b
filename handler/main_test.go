package handler

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eventd-io/eventd/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// attempt returns the first attempt at an event with this payload.
func attempt(payload string) *event.Attempt {
	return &event.Attempt{
		Event: &event.Event{Seq: 9, Table: event.Inbound, ID: "e-1", MessageType: "RQ_A", SourceService: "UP",
			CorrelationID: "c-1", CreatedAt: created, ContentType: "application/json", Headers: map[string]string{}},
		Payload: []byte(payload), Handler: "service-a", Route: "start", Number: 1,
	}
}

// newHTTP returns a handler that is closed with the test.
func newHTTP(t testing.TB, o HTTPOptions) *HTTP {
	t.Helper()
	h, err := NewHTTP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func deliver(t testing.TB, o HTTPOptions, a *event.Attempt) event.Answer {
	t.Helper()
	return newHTTP(t, o).Deliver(t.Context(), a)
}
