package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// showing is one `eventd events show`.
type showing struct {
	remote
	which   client.Which
	payload bool
	n       int
	json    bool
}

func showCommand() *command {
	return &command{
		name: "events show", operands: "EVENT_ID", least: 1, most: 1, brief: "show all that is known of an event",
		about: `Shows all events with an id (a request and the response to it have the same):
their fields, deliveries, payloads and timeline. With -payload it writes the
bytes of one payload and nothing else. Times are UTC.`,
		examples: `eventd events show 7f3a
eventd events show 7f3a -table response
eventd events show 7f3a -payload > body
eventd events show 7f3a -payload -n 1
eventd events show 7f3a -json | jq .timeline`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			v := &showing{}
			v.bind(p, fs)
			return func(ctx context.Context, operands []string) error {
				return v.unreached(ctx, v.run(ctx, p, operands[0]))
			}
		},
	}
}

func (v *showing) bind(p *program, fs *flag.FlagSet) {
	v.remote.bind(p, fs)
	bindWhich(fs, &v.which)
	fs.BoolVar(&v.payload, "payload", false, "write the bytes of a payload")
	fs.IntVar(&v.n, "n", 0, "which payload, its `NUMBER`; 0 is what was received")
	fs.BoolVar(&v.json, "json", false, "print it as JSON")
}

func bindWhich(fs *flag.FlagSet, w *client.Which) {
	fs.StringVar(&w.Table, "table", "", "only the event of this `TABLE`: inbound, request, response")
	fs.StringVar(&w.SourceService, "source-service", "", "only the event from this `SERVICE`")
}

func (v *showing) run(ctx context.Context, p *program, id string) error {
	if err := checkTable(v.which.Table); err != nil {
		return err
	}
	c, err := v.client()
	if err != nil {
		return err
	}
	if v.payload {
		return v.writePayload(ctx, p, c, id)
	}
	d, err := c.Show(ctx, id)
	if err != nil {
		return err
	}
	d = only(d, v.which)
	switch {
	case len(d.Rows) == 0:
		return fmt.Errorf("no event %q is in that table and from that service", id)
	case v.json:
		return p.printJSON(d)
	}
	return p.showDetail(d)
}

// writePayload writes bytes as they are, but not into a terminal that they
// could upset.
func (v *showing) writePayload(ctx context.Context, p *program, c *client.Client, id string) error {
	body, _, err := c.Payload(ctx, id, v.which, v.n)
	if err != nil {
		return err
	}
	if newScreen(p.stdout, p.env).terminal && (!utf8.Valid(body) || bytes.ContainsFunc(body, disturbs)) {
		return errors.New("the payload is not plain text; write it to a file: -payload > body")
	}
	_, err = p.stdout.Write(body)
	return err
}

func disturbs(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0
}

// only leaves in a detail what belongs to the rows that are meant.
func only(d wire.Detail, w client.Which) wire.Detail {
	other := func(table, source string) bool {
		return w.Table != "" && table != w.Table || w.SourceService != "" && source != w.SourceService
	}
	d.Rows = slices.DeleteFunc(d.Rows, func(r wire.Row) bool { return other(r.Table, r.SourceService) })
	d.Payloads = slices.DeleteFunc(d.Payloads, func(x wire.Payload) bool { return other(x.Table, x.EventSource) })
	d.Timeline = slices.DeleteFunc(d.Timeline, func(x wire.Entry) bool { return other(x.Table, x.EventSource) })
	d.Deliveries = slices.DeleteFunc(d.Deliveries, func(x wire.Delivery) bool { return other(x.Table, x.EventSource) })
	return d
}

// showDetail writes each event with what belongs to it.
func (p *program) showDetail(d wire.Detail) error {
	s := newScreen(p.stdout, p.env)
	for i, r := range d.Rows {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		one := only(wire.Detail{
			Payloads: slices.Clone(d.Payloads), Timeline: slices.Clone(d.Timeline), Deliveries: slices.Clone(d.Deliveries),
		}, client.Which{Table: r.Table, SourceService: r.SourceService})
		p.showFields(r, one.Timeline, s)
		for _, part := range []struct {
			title string
			table *table
		}{
			{"Deliveries", deliveryTable(one.Deliveries)},
			{"Payloads", payloadTable(one.Payloads)},
			{"Timeline", timelineTable(one.Timeline)},
		} {
			if len(part.table.rows) == 0 {
				continue
			}
			fmt.Fprintf(p.stdout, "\n%s\n", s.paint(part.title, bold))
			if err := part.table.write(p.stdout, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// showFields writes the fields that all tables have in common, and the others
// as far as they say something.
func (p *program) showFields(r wire.Row, timeline []wire.Entry, s screen) {
	common := [][2]string{
		{"EVENT_ID", r.EventID}, {"MESSAGE_TYPE", r.MessageType}, {"STATUS", r.Status},
		{"CREATED_BY", r.CreatedBy}, {"CREATED_DTTM", exact(r.CreatedDttm.Time)},
		{"UPDATED_BY", r.UpdatedBy}, {"UPDATED_DTTM", exact(r.UpdatedDttm.Time)},
	}
	for _, f := range common {
		text := printable(f[1])
		if text == "" {
			text = "-"
		}
		if f[0] == "STATUS" {
			text = s.paint(text, statusColour(text))
		}
		fmt.Fprintf(p.stdout, "%-19s%s\n", f[0], text)
	}
	fmt.Fprintln(p.stdout)
	for _, f := range append(otherFields(r), [2]string{"DETAIL", lastDetail(r, timeline)}) {
		if f[1] != "" {
			fmt.Fprintf(p.stdout, "%-19s%s\n", f[0], printable(f[1]))
		}
	}
}

// lastDetail is what was said last of an event that did not go well. It is
// whole here: the table of the timeline may have to cut it.
func lastDetail(r wire.Row, timeline []wire.Entry) string {
	for _, e := range slices.Backward(timeline) {
		if e.Detail != "" && e.Status == r.Status && r.Status != "COMPLETED" {
			return e.Detail
		}
	}
	return ""
}

func otherFields(r wire.Row) [][2]string {
	return [][2]string{
		{"TABLE", r.Table}, {"REASON", r.Reason},
		{"SOURCE_SERVICE", r.SourceService}, {"TARGET_SERVICE", r.TargetService},
		{"TOPIC", r.Topic}, {"SOURCE", r.Source},
		{"CORRELATION_ID", r.CorrelationID}, {"CAUSATION_ID", r.CausationID},
		{"ROUTE", r.Route}, {"HANDLER", r.Handler},
		{"ATTEMPTS", strconv.Itoa(r.Attempts)}, {"NEXT_ATTEMPT_DTTM", exact(r.NextAttemptDttm.Time)},
		{"GENERATION", strconv.Itoa(r.Generation)}, {"HOPS", number(r.Hops)},
		{"DELIVER_AT_DTTM", exact(r.DeliverAtDttm.Time)}, {"EXPIRES_DTTM", exact(r.ExpiresDttm.Time)},
		{"CONTENT_TYPE", r.ContentType},
	}
}

func deliveryTable(list []wire.Delivery) *table {
	t := &table{sparse: true, columns: []column{
		{head: "HANDLER"}, {head: "ROUTE", least: 8, rank: 3}, {head: "STATUS", colour: statusColour},
		{head: "ATTEMPTS", right: true}, {head: "GENERATION", rank: 1, right: true},
		{head: "NEXT_ATTEMPT", rank: 2}, {head: "ORDER_KEY", rank: 4}, {head: "REASON"},
	}}
	for _, d := range list {
		t.add(d.Handler, d.Route, d.Status, strconv.Itoa(d.Attempts), strconv.Itoa(d.Generation),
			exact(d.NextAttemptDttm.Time), d.OrderKey, d.Reason)
	}
	return t
}

func payloadTable(list []wire.Payload) *table {
	t := &table{sparse: true, columns: []column{
		{head: "N", right: true}, {head: "TOPIC", least: 8, rank: 4},
		{head: "SOURCE_SERVICE", least: 8, rank: 5}, {head: "TARGET_SERVICE", least: 8, rank: 6},
		{head: "CREATED_BY", least: 8, rank: 2}, {head: "CREATED_DTTM", rank: 1},
		{head: "CONTENT_TYPE", least: 10, rank: 3}, {head: "SIZE", right: true}, {head: "PAYLOAD", least: 16},
	}}
	for _, x := range list {
		t.add(strconv.Itoa(x.N), x.Topic, x.SourceService, x.TargetService, x.CreatedBy,
			exact(x.CreatedDttm.Time), x.ContentType, size(x.Size), preview(x))
	}
	return t
}

// previewLength is how many characters of a payload are shown where the screen
// does not set a limit.
const previewLength = 200

// preview is the beginning of a payload as people read it.
func preview(x wire.Payload) string {
	text := ""
	switch x.Encoding {
	case wire.EncodingJSON:
		text = string(x.Payload)
	case wire.EncodingText:
		if json.Unmarshal(x.Payload, &text) != nil {
			text = string(x.Payload)
		}
	case wire.EncodingRemoved:
		return "(removed: its time was over)"
	case wire.EncodingOmitted:
		return "(large: -payload -n " + strconv.Itoa(x.N) + ")"
	default:
		return "(bytes: -payload -n " + strconv.Itoa(x.N) + ")"
	}
	return cut(strings.TrimSpace(text), previewLength)
}

func timelineTable(list []wire.Entry) *table {
	t := &table{sparse: true, columns: []column{
		{head: "AT"}, {head: "STATUS", colour: statusColour}, {head: "ATTEMPT", right: true, rank: 2},
		{head: "HANDLER", least: 8, rank: 3}, {head: "REASON"}, {head: "CODE", right: true, rank: 1},
		{head: "TOOK", right: true}, {head: "DETAIL", least: 12, rank: 4},
	}}
	for _, e := range list {
		took := time.Duration(e.DurationMS * float64(time.Millisecond))
		t.add(exact(e.At.Time), e.Status, number(e.Attempt), e.Handler, e.Reason, number(e.Code), lasting(took), e.Detail)
	}
	return t
}
