package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

func explainCommand() *command {
	return &command{
		name: "explain", brief: "tell where an event would go, and why",
		about: `Tells for an event where the running daemon would send it, and each route's
verdict. Nothing is stored. Exit code 0, whether a route takes it or not.`,
		examples: `eventd explain -type RQ_A_INIT -table inbound -data '{"amount": 0}'
eventd explain -type RQ_A_INIT -file body.json -header 'Region: eu'`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			o := &outgoing{}
			o.bind(p, fs)
			inTable := fs.String("table", "", "as if it stood in this `TABLE`: inbound, request, response (default request)")
			asJSON := fs.Bool("json", false, "print it as JSON")
			return func(ctx context.Context, _ []string) error {
				return o.unreached(ctx, o.explain(ctx, p, *inTable, *asJSON))
			}
		},
	}
}

func (o *outgoing) explain(ctx context.Context, p *program, inTable string, asJSON bool) error {
	if o.messageType == "" {
		return wrongUsage("-type is missing")
	}
	if err := checkTable(inTable); err != nil {
		return err
	}
	var where event.Table
	if inTable != "" {
		where, _ = event.ParseTable(inTable) // checkTable has seen it
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	payload, err := o.payload(p, false)
	if err != nil {
		return err
	}
	header, body, err := o.request(payload)
	if err != nil {
		return err
	}
	list, err := c.Explain(ctx, where, header, body)
	if err != nil {
		return err
	}
	for _, e := range list {
		if asJSON {
			err = p.printJSON(e)
		} else {
			err = p.showVerdicts(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// showVerdicts writes where an event would go, and each route's verdict.
func (p *program) showVerdicts(e wire.ExplainedEvent) error {
	name := printable(e.MessageType) + " in " + e.Table
	flawed := slices.ContainsFunc(e.Routes, func(r event.Explanation) bool { return r.Flaw != "" })
	switch {
	case len(e.Handlers) == 0 && flawed:
		fmt.Fprintf(p.stdout, "%s: its payload does not fit; it would stand as ERROR invalid\n", name)
	case len(e.Handlers) == 0:
		fmt.Fprintf(p.stdout, "%s: no route takes it; it would stand as ERROR no_route\n", name)
	default:
		fmt.Fprintf(p.stdout, "%s goes to %s\n", name, printable(strings.Join(e.Handlers, ", ")))
	}
	if len(e.Routes) == 0 {
		return nil
	}
	t := &table{columns: []column{{head: "ROUTE"}, {head: "MATCHES", colour: matchColour}, {head: "HANDLERS", least: 8}, {head: "WHY", least: 20}}}
	for _, r := range e.Routes {
		verdict := "no"
		switch {
		case r.Flaw != "":
			verdict = "invalid"
		case r.Matched:
			verdict = "yes"
		}
		t.add(r.Route, verdict, strings.Join(r.Handlers, ", "), r.Why)
	}
	fmt.Fprintln(p.stdout)
	return t.write(p.stdout, newScreen(p.stdout, p.env))
}

func matchColour(verdict string) string {
	switch verdict {
	case "yes":
		return green
	case "invalid":
		return red
	}
	return ""
}
