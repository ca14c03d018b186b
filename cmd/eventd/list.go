package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// listing is one `eventd events list`.
type listing struct {
	remote
	query client.Query
	limit int
	all   bool
	json  bool
}

func listCommand() *command {
	return &command{
		name: "events list", brief: "list events, the newest first",
		about: `Lists events, the newest first. Filters that are given must all fit. Times are
UTC. On a terminal the table is made to fit; what is cut there is whole in a
file or pipe. With -json each event is one line, with the fields of the API.`,
		examples: `eventd events list
eventd events list -status FAILED -since 1h
eventd events list -correlation order-17 -oldest-first
eventd events list -overdue 5m
eventd events list -status ERROR -reason no_route -all -json | jq -r .event_id`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			l := &listing{}
			l.bind(p, fs)
			return func(ctx context.Context, _ []string) error { return l.unreached(ctx, l.run(ctx, p)) }
		},
	}
}

func (l *listing) bind(p *program, fs *flag.FlagSet) {
	l.remote.bind(p, fs)
	q := &l.query
	fs.StringVar(&q.Table, "table", "", "only of this `TABLE`: inbound, request, response")
	fs.StringVar(&q.Status, "status", "", "only in this `STATUS`: UNPROCESSED, IN_PROGRESS, COMPLETED, RETRY, ERROR, FAILED")
	fs.StringVar(&q.MessageType, "type", "", "only of this message `TYPE`")
	fs.StringVar(&q.Handler, "handler", "", "only with a delivery to this handler (its `NAME`)")
	fs.StringVar(&q.Route, "route", "", "only by this route (its `NAME`)")
	fs.StringVar(&q.Reason, "reason", "", "only with this `REASON`, such as no_route or exhausted")
	fs.StringVar(&q.SourceService, "source-service", "", "only from this `SERVICE`")
	fs.StringVar(&q.CorrelationID, "correlation", "", "only of the conversation with this `ID`")
	fs.StringVar(&q.Since, "since", "", "created at this `TIME` or later: 2026-01-31T09:00:00Z, or 15m for so long ago")
	fs.StringVar(&q.Until, "until", "", "created before this `TIME`; the same forms")
	fs.StringVar(&q.Overdue, "overdue", "", "only requests sent this `DURATION` ago, or longer, that await their response")
	fs.BoolVar(&q.OldestFirst, "oldest-first", false, "the oldest first")
	fs.IntVar(&l.limit, "limit", 100, "at most this `NUMBER` of events")
	fs.BoolVar(&l.all, "all", false, "all events that match")
	fs.BoolVar(&l.json, "json", false, "JSON lines instead of a table")
}

// check finds what can be known to be wrong without asking the daemon.
func (l *listing) check() error {
	if l.query.Status != "" {
		status, err := event.ParseStatus(l.query.Status)
		if err != nil {
			return wrongUsage("-status: %v", err)
		}
		l.query.Status = status.String() // any case will do here
	}
	if err := checkTable(l.query.Table); err != nil {
		return err
	}
	if l.limit < 1 {
		return wrongUsage("-limit must be at least 1 (-all for all)")
	}
	return nil
}

func checkTable(name string) error {
	if name == "" {
		return nil
	}
	if _, err := event.ParseTable(name); err != nil {
		return wrongUsage("-table: %v", err)
	}
	return nil
}

// perPage is how many events are asked for at a time, the most the API gives.
const perPage = 1000

func (l *listing) run(ctx context.Context, p *program) error {
	if err := l.check(); err != nil {
		return err
	}
	c, err := l.client()
	if err != nil {
		return err
	}
	out := l.printer(p)
	progress := newProgress(p)
	defer progress.clear()
	for shown := 0; ; {
		q := l.query
		q.Limit = perPage
		if !l.all {
			q.Limit = min(perPage, l.limit-shown)
		}
		page, err := c.List(ctx, q)
		if err != nil {
			return err
		}
		if shown += len(page.Events); shown > 0 {
			if err := out(page.Events); err != nil {
				return err
			}
		}
		progress.show(shown)
		if page.NextCursor == "" || !l.all && shown >= l.limit {
			progress.clear()
			return l.conclude(p, shown, page.NextCursor != "")
		}
		l.query.Cursor = page.NextCursor
	}
}

// printer returns what prints a page of events.
func (l *listing) printer(p *program) func([]wire.Row) error {
	if l.json {
		return func(rows []wire.Row) error {
			var page bytes.Buffer
			enc := json.NewEncoder(&page)
			enc.SetEscapeHTML(false)
			for _, r := range rows {
				if err := enc.Encode(r); err != nil {
					return err
				}
			}
			_, err := page.WriteTo(p.stdout)
			return err
		}
	}
	t, s := rowTable(), newScreen(p.stdout, p.env)
	return func(rows []wire.Row) error {
		now := time.Now()
		for _, r := range rows {
			addRow(t, r, s, now)
		}
		return t.write(p.stdout, s)
	}
}

// conclude says what the list alone does not.
func (l *listing) conclude(p *program, shown int, more bool) error {
	switch {
	case more:
		fmt.Fprintf(p.stderr, "The first %d are shown; see more with -limit N or -all.\n", shown)
	case shown == 0 && !l.json:
		_, err := fmt.Fprintln(p.stdout, "no events match")
		return err
	}
	return nil
}

// progress tells on a terminal how far a long list is, when the list itself
// goes somewhere else.
type progress struct {
	p     *program
	shown bool
	on    bool
}

func newProgress(p *program) *progress {
	return &progress{p: p, on: newScreen(p.stderr, p.env).terminal && !newScreen(p.stdout, p.env).terminal}
}

func (g *progress) show(events int) {
	if g.on {
		g.shown = true
		fmt.Fprintf(g.p.stderr, "\r%s", count(events, "event"))
	}
}

// line shows a line in place of the one before, however long that was.
func (g *progress) line(text string) {
	if g.on {
		g.shown = true
		fmt.Fprintf(g.p.stderr, "\r\x1b[K%s", cut(text, newScreen(g.p.stderr, g.p.env).width-1))
	}
}

func (g *progress) clear() {
	if g.shown {
		g.shown = false
		fmt.Fprint(g.p.stderr, "\r\x1b[K")
	}
}
