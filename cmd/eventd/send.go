package main

import (
	"context"
	"flag"
	"fmt"
)

func sendCommand() *command {
	return &command{
		name: "send", brief: "send an event to the daemon",
		about: `Sends one event to the running daemon; it stands in the table request, on disk,
when this ends with 0. The payload is -data, -file or standard input. The same
-id again is a duplicate and changes nothing, so sending can be repeated.`,
		examples: `eventd send -type RQ_A_INIT -data '{"amount": 10}'
eventd send -type PICTURE -id p-17 -file picture.png -content-type image/png
generate | eventd send -type REPORT -correlation order-17
eventd send -type REMIND -data '' -header 'Eventd-Delay: 1h'`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			o := &outgoing{}
			o.bind(p, fs)
			asJSON := fs.Bool("json", false, "print the receipt as JSON")
			return func(ctx context.Context, _ []string) error {
				return o.unreached(ctx, o.send(ctx, p, *asJSON))
			}
		},
	}
}

func (o *outgoing) send(ctx context.Context, p *program, asJSON bool) error {
	if o.messageType == "" {
		return wrongUsage("-type is missing")
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	payload, err := o.payload(p, true)
	if err != nil {
		return err
	}
	header, body, err := o.request(payload)
	if err != nil {
		return err
	}
	receipts, err := c.Post(ctx, header, body)
	if err != nil {
		return err
	}
	t := &table{columns: []column{{head: "TABLE"}, {head: "EVENT_ID"}, {head: "DUPLICATE"}}}
	for _, r := range receipts {
		if asJSON {
			if err := p.printJSON(r); err != nil {
				return err
			}
			continue
		}
		t.add(r.Table, r.EventID, fmt.Sprint(r.Duplicate))
	}
	if asJSON {
		return nil
	}
	return t.write(p.stdout, newScreen(p.stdout, p.env))
}
