package main

import (
	"context"
	"flag"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// change is one `eventd events cancel`, or a redrive of one event.
type change struct {
	remote
	which    client.Which
	delivery string
	reason   string
	json     bool
}

func cancelCommand() *command {
	return &command{
		name: "events cancel", operands: "EVENT_ID", least: 1, most: 1, brief: "give an event up",
		about: `Gives an event up that nobody should handle any more: it becomes FAILED with
reason cancelled. One that is COMPLETED or being handled cannot be cancelled. With
-delivery only the delivery to that handler is given up, and the others go on.`,
		examples: `eventd events cancel 7f3a -reason 'sent by mistake'
eventd events cancel 7f3a -table request
eventd events cancel 7f3a -delivery ledger`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			c := &change{}
			c.bind(p, fs)
			return c.action(p, func(ctx context.Context, api *client.Client, id string) (wire.Row, error) {
				return api.Cancel(ctx, id, c.which, wire.Cancel{Delivery: c.delivery, Reason: c.reason})
			})
		},
	}
}

func (c *change) bind(p *program, fs *flag.FlagSet) {
	c.remote.bind(p, fs)
	bindWhich(fs, &c.which)
	fs.StringVar(&c.delivery, "delivery", "", "only the delivery to this handler (its `NAME`)")
	fs.StringVar(&c.reason, "reason", "", "why, a `TEXT` for the timeline")
	fs.StringVar(&c.service, "by", "", "who asks, a `NAME` for updated_by (default: the daemon's service)")
	fs.BoolVar(&c.json, "json", false, "print the event as JSON")
}

// action returns what asks for the change and prints the event as it is then.
func (c *change) action(p *program, ask func(context.Context, *client.Client, string) (wire.Row, error)) func(context.Context, []string) error {
	return func(ctx context.Context, operands []string) error {
		if err := checkTable(c.which.Table); err != nil {
			return err
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		row, err := ask(ctx, api, operands[0])
		if err != nil {
			return c.unreached(ctx, err)
		}
		if c.json {
			return p.printJSON(row)
		}
		return p.showRows([]wire.Row{row})
	}
}
