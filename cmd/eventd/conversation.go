package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/eventd-io/eventd/api/wire"
)

// conversing is one `eventd correlation`.
type conversing struct {
	remote
	payloads bool
	json     bool
}

func correlationCommand() *command {
	return &command{
		name: "correlation", operands: "CORRELATION_ID", least: 1, most: 1, brief: "show a whole conversation",
		about: `Shows everything with one correlation id, oldest first: the events of all tables,
how long it took from one to the next and from requests to their responses,
payloads, and working data. Times are UTC.`,
		examples: `eventd correlation order-17
eventd correlation order-17 -payloads
eventd correlation order-17 -json | jq .waits`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			c := &conversing{}
			c.remote.bind(p, fs)
			fs.BoolVar(&c.payloads, "payloads", false, "with the bodies of the payloads")
			fs.BoolVar(&c.json, "json", false, "print it as JSON")
			return func(ctx context.Context, operands []string) error {
				return c.unreached(ctx, c.run(ctx, p, operands[0]))
			}
		},
	}
}

func (c *conversing) run(ctx context.Context, p *program, id string) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	v, err := api.Conversation(ctx, id, c.payloads)
	if err != nil {
		return err
	}
	if c.json {
		return p.printJSON(v)
	}
	return p.showConversation(&v, c.payloads)
}

func (p *program) showConversation(v *wire.Conversation, payloads bool) error {
	s := newScreen(p.stdout, p.env)
	if err := conversationTable(v).write(p.stdout, s); err != nil {
		return err
	}
	if payloads && len(v.Payloads) > 0 {
		fmt.Fprintf(p.stdout, "\n%s\n", s.paint("Payloads", bold))
		if err := bodyTable(v.Payloads).write(p.stdout, s); err != nil {
			return err
		}
	}
	if w := v.WorkingData; w != nil {
		fmt.Fprintf(p.stdout, "\n%s\n%s\n", s.paint(fmt.Sprintf("Working data, version %d", w.Version), bold), printable(string(w.Document)))
	}
	if v.Truncated {
		fmt.Fprintf(p.stderr, "The first %d events are shown; see all with eventd events list -correlation ID -all.\n", len(v.Rows))
	}
	return nil
}

// conversationTable shows the rows, with the time since the one before, and that
// from a request to its response.
func conversationTable(v *wire.Conversation) *table {
	t := &table{sparse: true, columns: []column{
		{head: "CREATED"}, {head: "AFTER", right: true}, {head: "EVENT_ID"}, {head: "TABLE", rank: 1},
		{head: "MESSAGE_TYPE", least: 10, rank: 4}, {head: "STATUS", colour: statusColour},
		{head: "HANDLER", least: 8, rank: 2}, {head: "REASON", least: 9, rank: 3}, {head: "ANSWERED_AFTER", right: true},
	}}
	next := make([]string, 1, len(v.Rows)+1) // nothing comes before the first
	answered := make(map[wire.EventRef]string)
	for _, w := range v.Waits {
		text := lasting(time.Duration(w.DurationMS * float64(time.Millisecond)))
		if w.Kind == wire.WaitAnswer {
			answered[w.From] = text
		} else {
			next = append(next, text)
		}
	}
	now := time.Now()
	for i, r := range v.Rows {
		ref := wire.EventRef{Table: r.Table, SourceService: r.SourceService, EventID: r.EventID, MessageType: r.MessageType}
		t.add(exact(r.CreatedDttm.Time), next[min(i, len(next)-1)], r.EventID, r.Table, r.MessageType, r.Status, r.Handler, why(r, now), answered[ref])
	}
	return t
}

func bodyTable(list []wire.Payload) *table {
	t := &table{sparse: true, columns: []column{
		{head: "EVENT_ID"}, {head: "TABLE"}, {head: "N", right: true}, {head: "TOPIC", least: 8, rank: 2},
		{head: "CONTENT_TYPE", least: 8, rank: 1}, {head: "SIZE", right: true}, {head: "PAYLOAD", least: 12, rank: 3},
	}}
	for _, x := range list {
		t.add(x.EventID, x.Table, strconv.Itoa(x.N), x.Topic, x.ContentType, size(x.Size), preview(x))
	}
	return t
}
