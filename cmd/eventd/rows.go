package main

import (
	"strconv"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// rowTable is how events are listed. On a narrow screen the time loses its
// year, then texts are cut, then columns go; the id stays whole.
func rowTable() *table {
	return &table{columns: []column{
		{head: "CREATED"},
		{head: "EVENT_ID"},
		{head: "TABLE", rank: 2},
		{head: "MESSAGE_TYPE", least: 10, rank: 5},
		{head: "STATUS", colour: statusColour},
		{head: "HANDLER", least: 8, rank: 3},
		{head: "ATTEMPTS", rank: 1, right: true},
		{head: "REASON", least: 9, rank: 4},
	}}
}

// showRows writes a table of events.
func (p *program) showRows(rows []wire.Row) error {
	t, s, now := rowTable(), newScreen(p.stdout, p.env), time.Now()
	for _, r := range rows {
		addRow(t, r, s, now)
	}
	return t.write(p.stdout, s)
}

// narrow is the width below which times are written short.
const narrow = 120

func addRow(t *table, r wire.Row, s screen, now time.Time) {
	created := instant(r.CreatedDttm.Time)
	if s.width > 0 && s.width < narrow {
		created = r.CreatedDttm.UTC().Format("01-02 15:04:05")
	}
	t.add(created, r.EventID, r.Table, r.MessageType, r.Status, r.Handler, strconv.Itoa(r.Attempts), why(r, now))
}

// why is the reason of a row, and when something happens next.
func why(r wire.Row, now time.Time) string {
	var next time.Time
	switch r.Status {
	case "RETRY":
		next = r.NextAttemptDttm.Time
	case "UNPROCESSED":
		next = r.DeliverAtDttm.Time
	}
	text := r.Reason
	if text != "" && !next.IsZero() {
		text += ", "
	}
	switch left := next.Sub(now); {
	case left > 0:
		return text + "in " + lasting(left.Round(100*time.Millisecond))
	case r.Status == "RETRY" && !next.IsZero():
		return text + "due"
	}
	return text
}

// candidateTable shows by what events with the same id can be told apart.
func candidateTable(rows []wire.Row) *table {
	t := &table{columns: []column{
		{head: "TABLE"}, {head: "SOURCE_SERVICE"}, {head: "MESSAGE_TYPE", least: 10, rank: 2},
		{head: "STATUS", colour: statusColour}, {head: "CREATED", rank: 1},
	}}
	for _, r := range rows {
		t.add(r.Table, r.SourceService, r.MessageType, r.Status, instant(r.CreatedDttm.Time))
	}
	return t
}
