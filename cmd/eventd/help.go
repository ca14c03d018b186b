package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func helpCommand() *command {
	return &command{
		name: "help", operands: "[COMMAND]", most: 2, brief: "tell how to use eventd or one of its commands",
		about:    "Tells how eventd is used, or how one of its commands is.",
		examples: "eventd help\neventd help events list",
		bind: func(p *program, _ *flag.FlagSet) func(context.Context, []string) error {
			return func(_ context.Context, operands []string) error { return p.explainUse(operands) }
		},
	}
}

// explainUse writes the help of a command, of those that begin with a word, or
// the overview.
func (p *program) explainUse(operands []string) error {
	if len(operands) == 0 {
		p.overview(p.stdout)
		return nil
	}
	all := commands()
	if group := below(all, operands[0]); len(operands) == 1 && len(group) > 0 {
		fmt.Fprintf(p.stdout, "Usage: eventd %s COMMAND [flags]\n\nCommands:\n", operands[0])
		writeBriefs(p.stdout, all, operands[0]+" ")
		fmt.Fprintf(p.stdout, "\nRun 'eventd %s COMMAND -h' for the flags and examples of one.\n", operands[0])
		return nil
	}
	c, _, err := find(all, operands)
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.bind(p, fs)
	p.help(p.stdout, c, fs)
	return nil
}

const overviewHead = `eventd takes messages from NATS JetStream and from services, keeps each as an
event with a status, its payload and a timeline, and hands it to the handlers
that the configuration names, again if need be, until it has ended.

Usage:
  eventd -config FILE                 run the daemon
  eventd COMMAND [flags] [arguments]  do something else

Commands:
`

const overviewTail = `
Run 'eventd COMMAND -h' for the flags and examples of a command.

Examples:
  eventd check -config routes.yaml
  eventd -config routes.yaml
  eventd send -type RQ_A_INIT -data '{"amount": 10}'
  eventd events list -status FAILED -since 1h
  eventd events show 0199d7a4-5c1e-7b52-8d5f-3f4a0c6b9e21

Signals to the daemon:
  SIGTERM, SIGINT   stop taking in, finish what runs, exit 0; a second one: exit 1
  SIGHUP            read the configuration again

Environment:
  EVENTD_ADMIN        address of the daemon's API, when -admin is not given
  EVENTD_TOKEN_FILE   file with the token for it, when -token-file is not given
  EVENTD_HEALTH_URL   what 'eventd health' asks, when -url is not given
  NO_COLOR            no colours when it is set
  SSL_CERT_FILE       certificates to trust, for an -admin address with https

Exit codes:
  0   done; the daemon was stopped in order
  1   it failed, or the daemon refused it or does not answer
  2   the command line or the configuration is wrong
  3   the event store cannot be opened: locked, read-only, disk full
  4   the event store is corrupt or another program's file
  5   the event store is of a newer version of eventd
  6   NATS refuses the connection for good
  70  a commit failed: what is on disk is unknown

Documentation: https://github.com/eventd-io/eventd/tree/main/docs
`

// overview writes the help of the whole program.
func (p *program) overview(w io.Writer) {
	fmt.Fprint(w, overviewHead)
	writeBriefs(w, commands(), "")
	fmt.Fprint(w, overviewTail)
}

// writeBriefs writes a line for each command whose name begins with a prefix.
func writeBriefs(w io.Writer, all []*command, prefix string) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range all {
		if c.name != "" && strings.HasPrefix(c.name, prefix) {
			fmt.Fprintf(tw, "  %s\t%s\n", c.name, c.brief)
		}
	}
	_ = tw.Flush() // as little can be done about it as about any Fprint here
}
