package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func manyRows(n int) []event.Record {
	var records []event.Record
	for i := range n {
		records = append(records, row(uint64(i+1), event.Inbound, "UP", fmt.Sprintf("e%03d", i+1)))
	}
	return records
}

func TestListPages(t *testing.T) {
	for _, c := range []struct {
		order       string
		first, last string
	}{
		{"", "e250", "e001"},
		{"&order=desc", "e250", "e001"},
		{"&order=asc", "e001", "e250"},
	} {
		t.Run("order"+c.order, func(t *testing.T) {
			h := serve(newFake(manyRows(250)...))
			var all []wire.Row
			cursor := ""
			for pages := 1; ; pages++ {
				target := "/v1/events?status=COMPLETED&limit=100" + c.order + "&cursor=" + cursor
				l := want[wire.List](t, ask(h, "GET", target, ""), 200)
				all = append(all, l.Events...)
				if cursor = l.NextCursor; cursor == "" {
					if pages != 3 {
						t.Errorf("%d pages; want 3", pages)
					}
					break
				}
			}
			if len(all) != 250 || all[0].EventID != c.first || all[249].EventID != c.last {
				t.Errorf("%d events, %s to %s; want 250, %s to %s", len(all), all[0].EventID, all[len(all)-1].EventID, c.first, c.last)
			}
		})
	}
}

func TestListIsNeverNull(t *testing.T) {
	w := ask(serve(newFake()), "GET", "/v1/events", "")
	if got := w.Body.String(); w.Code != 200 || got != `{"events":[],"next_cursor":""}`+"\n" {
		t.Errorf("%d %s", w.Code, got)
	}
}

func TestListFilters(t *testing.T) {
	f := newFake()
	q := url.Values{
		"table": {"response"}, "status": {"RETRY"}, "message_type": {"RQ_A INIT"}, "handler": {"h"}, "route": {"r"},
		"reason": {"http_503"}, "source_service": {"S"}, "correlation_id": {"a/b+c&d=e"},
		"since": {"2026-01-31T12:00:00+02:00"}, "until": {"2026-01-31T12:00:00.5Z"}, "limit": {"7"}, "order": {"asc"},
	}
	want[wire.List](t, ask(serve(f), "GET", "/v1/events?"+q.Encode(), ""), 200)
	wantFilter := event.Filter{
		Table: event.Response, Status: event.Retry, MessageType: "RQ_A INIT", Handler: "h", Route: "r",
		Reason: "http_503", SourceService: "S", CorrelationID: "a/b+c&d=e",
		Since: noon.Add(-2 * time.Hour), Until: noon.Add(500 * time.Millisecond),
	}
	if f.asked != wantFilter {
		t.Errorf("filter = %+v\nwant     %+v", f.asked, wantFilter)
	}
	if f.page != (event.Page{Limit: 7, OldestFirst: true}) {
		t.Errorf("page = %+v", f.page)
	}
}

func TestListDefaults(t *testing.T) {
	f := newFake()
	want[wire.List](t, ask(serve(f), "GET", "/v1/events", ""), 200)
	if f.asked != (event.Filter{}) || f.page != (event.Page{Limit: 100}) {
		t.Errorf("filter, page = %+v, %+v; want none, 100 newest first", f.asked, f.page)
	}
}

func TestListSinceADuration(t *testing.T) {
	f := newFake(manyRows(3)...)
	h := serve(f)
	before := time.Now()
	l := want[wire.List](t, ask(h, "GET", "/v1/events?since=15m&limit=1", ""), 200)
	first := f.asked.Since
	if first.Before(before.Add(-15*time.Minute)) || first.After(time.Now().Add(-15*time.Minute)) {
		t.Errorf("since = %v; want 15 minutes ago", first)
	}
	want[wire.List](t, ask(h, "GET", "/v1/events?since=15m&limit=1&cursor="+l.NextCursor, ""), 200)
	if !f.asked.Since.Equal(first) {
		t.Errorf("since on the next page = %v; want the same as on the first, %v", f.asked.Since, first)
	}
}

func TestListRefuses(t *testing.T) {
	h := serve(newFake(manyRows(3)...))
	cursor := want[wire.List](t, ask(h, "GET", "/v1/events?limit=1&status=COMPLETED", ""), 200).NextCursor
	for _, c := range []struct {
		query    string
		status   int
		detail   string
		location string
	}{
		{"table=outbound", 422, `no table is named "outbound"`, "query.table"},
		{"status=DONE", 422, `no status is named "DONE"`, "query.status"},
		{"limit=0", 422, "", "query.limit"},
		{"limit=1001", 422, "", "query.limit"},
		{"limit=many", 422, "", "query.limit"},
		{"order=sideways", 422, "", "query.order"},
		{"since=yesterday", 422, "neither a time", "query.since"},
		{"since=-5m", 422, "neither a time", "query.since"},
		{"until=2026-01-31", 422, "neither a time", "query.until"},
		{"since=5m&until=10m", 422, "not after since", "query.until"},
		{"overdue=soon", 422, "not a duration", "query.overdue"},
		{"overdue=-1s", 422, "not a duration", "query.overdue"},
		{"statsu=FAILED", 422, "unknown query parameter", "query.statsu"},
		{"status=FAILED&status=ERROR", 400, "given 2 times", "query.status"},
		{"status=%zz", 400, "the query cannot be read", ""},
		{"status=FAILED;table=request", 400, "the query cannot be read", ""},
		{"cursor=%21%21", 400, "handed out", "query.cursor"},
		{"cursor=" + base64.RawURLEncoding.EncodeToString([]byte("{}")), 400, "handed out", "query.cursor"},
		{"cursor=" + cursor, 400, "other filters", "query.cursor"},
		{"status=FAILED&cursor=" + cursor, 400, "other filters", "query.cursor"},
		{"status=COMPLETED&since=1h&cursor=" + cursor, 400, "other filters", "query.cursor"},
		{"status=COMPLETED&order=asc&cursor=" + cursor, 400, "other filters", "query.cursor"},
	} {
		t.Run(c.query, func(t *testing.T) {
			p := wantProblem(t, ask(h, "GET", "/v1/events?"+c.query, ""), c.status, c.detail)
			if c.location != "" && (len(p.Errors) != 1 || p.Errors[0].Location != c.location) {
				t.Errorf("errors = %+v; want one at %s", p.Errors, c.location)
			}
		})
	}
	// The page size may differ from page to page.
	want[wire.List](t, ask(h, "GET", "/v1/events?limit=2&status=COMPLETED&cursor="+cursor, ""), http.StatusOK)
}

// TestCursorKnowsEveryFilter takes a cursor from a list with all filters and
// uses it with one of them changed.
func TestCursorKnowsEveryFilter(t *testing.T) {
	r := row(1, event.Inbound, "UP", "e1")
	h := serve(newFake(r, r))
	all := map[string]string{
		"table": "inbound", "status": "COMPLETED", "message_type": "m", "handler": "h", "route": "r", "reason": "x",
		"source_service": "s", "correlation_id": "c", "since": "3h", "until": "1h", "order": "asc", "limit": "1", "overdue": "2h",
	}
	target := func(changed string) string {
		q := url.Values{}
		for name, value := range all {
			if name != changed {
				q.Set(name, value)
			}
		}
		return "/v1/events?" + q.Encode()
	}
	cursor := want[wire.List](t, ask(h, "GET", target(""), ""), 200).NextCursor
	for name := range all {
		w := ask(h, "GET", target(name)+"&cursor="+cursor, "")
		if name == "limit" {
			want[wire.List](t, w, 200)
			continue
		}
		wantProblem(t, w, 400, "other filters")
	}
}

func TestListOverdue(t *testing.T) {
	f := newFake(manyRows(3)...)
	h := serve(f)
	before := time.Now()
	l := want[wire.List](t, ask(h, "GET", "/v1/events?overdue=5m&limit=1", ""), 200)
	first := f.asked.Unanswered
	if first.Before(before.Add(-5*time.Minute)) || first.After(time.Now().Add(-5*time.Minute)) {
		t.Errorf("unanswered since %v; want 5 minutes ago", first)
	}
	want[wire.List](t, ask(h, "GET", "/v1/events?overdue=5m&limit=1&cursor="+l.NextCursor, ""), 200)
	if !f.asked.Unanswered.Equal(first) {
		t.Errorf("on the second page: since %v; want %v as on the first", f.asked.Unanswered, first)
	}
	want[wire.List](t, ask(h, "GET", "/v1/events?overdue=0s", ""), 200)
	if f.asked.Unanswered.IsZero() {
		t.Error("overdue=0s asks for any events; want those that wait")
	}
}

func TestListWhenTheStoreFails(t *testing.T) {
	f := newFake()
	f.err = errDisk
	wantProblem(t, ask(serve(f), "GET", "/v1/events", ""), 500, "list events: disk on fire")
}

func BenchmarkList1000(b *testing.B) {
	h := serve(newFake(manyRows(1000)...))
	for b.Loop() {
		if w := ask(h, "GET", "/v1/events?limit=1000", ""); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
