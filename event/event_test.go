package event_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/eventd-io/eventd/event"
)

// steps is the whole state machine, as docs/events.md draws it.
var steps = map[event.Status][]event.Status{
	event.Unprocessed: {event.InProgress, event.Error, event.Failed},
	event.InProgress:  {event.Completed, event.Retry, event.Error, event.Failed, event.Unprocessed},
	event.Retry:       {event.InProgress, event.Error, event.Failed, event.Unprocessed},
	event.Completed:   {event.Unprocessed},
	event.Error:       {event.Unprocessed, event.Failed},
	event.Failed:      {event.Unprocessed},
}

func TestCanStep(t *testing.T) {
	for _, from := range event.Statuses {
		for _, to := range event.Statuses {
			want := false
			for _, s := range steps[from] {
				want = want || s == to
			}
			if got := event.CanStep(from, to); got != want {
				t.Errorf("CanStep(%s, %s) = %t; want %t", from, to, got, want)
			}
		}
	}
	if event.CanStep(0, event.Completed) || event.CanStep(99, event.Completed) {
		t.Error("CanStep from no status = true; want false")
	}
}

func TestNamesAreReadAsTheyAreWritten(t *testing.T) {
	for _, s := range event.Statuses {
		b, err := json.Marshal(s)
		var back event.Status
		if err != nil || json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("status %s became %s and %s; %v", s, b, back, err)
		}
	}
	for _, table := range event.Tables {
		b, err := json.Marshal(table)
		var back event.Table
		if err != nil || json.Unmarshal(b, &back) != nil || back != table {
			t.Errorf("table %s became %s and %s; %v", table, b, back, err)
		}
	}
	if _, err := event.ParseStatus("DONE"); err == nil {
		t.Error("ParseStatus(DONE) succeeds; want an error")
	}
	if s, err := event.ParseStatus("retry"); err != nil || s != event.Retry {
		t.Errorf("ParseStatus(retry) = %s, %v; want RETRY", s, err)
	}
	if _, err := event.ParseTable("outbound"); err == nil {
		t.Error("ParseTable(outbound) succeeds; want an error")
	}
}

func TestDerive(t *testing.T) {
	of := func(list ...event.Status) event.Status {
		s := event.State{Status: event.Error}
		for _, status := range list {
			s.Deliveries = append(s.Deliveries, event.Delivery{Status: status})
		}
		s.Derive()
		return s.Status
	}
	for _, c := range []struct {
		deliveries []event.Status
		want       event.Status
	}{
		{nil, event.Error}, // as it was
		{[]event.Status{event.Completed}, event.Completed},
		{[]event.Status{event.Completed, event.Error}, event.Error},
		{[]event.Status{event.Error, event.Failed, event.Completed}, event.Failed},
		{[]event.Status{event.Failed, event.Retry}, event.Retry},
		{[]event.Status{event.Retry, event.InProgress, event.Completed}, event.InProgress},
		{[]event.Status{event.InProgress, event.Unprocessed}, event.Unprocessed},
	} {
		if got := of(c.deliveries...); got != c.want {
			t.Errorf("Derive of %v = %s; want %s", c.deliveries, got, c.want)
		}
	}
}

func TestDeriveID(t *testing.T) {
	id := event.DeriveID("STREAM", "42", "7")
	if want := "821af7bf-467f-8aeb-8e66-14bdbf149df1"; id != want {
		t.Errorf("DeriveID = %s; want %s: those of events that are stored must be met again", id, want)
	}
	if id != event.DeriveID("STREAM", "42", "7") {
		t.Error("the same parts give different ids")
	}
	for _, parts := range [][]string{{"STREAM", "427"}, {"STREAM4", "2", "7"}, {"STREAM", "42", "7", ""}} {
		if event.DeriveID(parts...) == id {
			t.Errorf("%q give the id of STREAM, 42, 7", parts)
		}
	}
	if len(id) != 36 || id[14] != '8' {
		t.Errorf("DeriveID = %s; want the form of a UUID of version 8", id)
	}
}

func TestPositionsOfStreamsWithTheSameName(t *testing.T) {
	at := time.Unix(100, 0)
	p := event.Position{Stream: "S", Sequence: 1, Stored: at}
	if !p.Equal(event.Position{Stream: "S", Sequence: 1, Stored: at.UTC()}) {
		t.Error("the same position in another time zone is not equal")
	}
	if p.Equal(event.Position{Stream: "S", Sequence: 1, Stored: at.Add(1)}) {
		t.Error("the first message of a stream made anew equals that of the old one")
	}
	if p.IsZero() || !(event.Position{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}
