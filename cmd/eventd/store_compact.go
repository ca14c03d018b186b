package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/storage"
)

func storeCompactCommand() *command {
	return &command{
		name: "store compact", operands: "[FILE]", most: 1, brief: "give the free space of a store back to the file system",
		about: `Writes a store anew without its free space, reads that again, and puts it in the
place of the old one, which is there until then whatever happens. It needs the
file for itself, and as much room as is in use. The daemon does the same when it
starts and more than half of a store of 64 MiB or more is free.`,
		examples: `eventd store compact -config routes.yaml
eventd store compact -wait 1m -data /var/lib/eventd/eventd-data`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			var f storeFile
			f.bind(fs)
			return func(ctx context.Context, operands []string) error { return p.storeCompact(ctx, &f, operands) }
		},
	}
}

func (p *program) storeCompact(ctx context.Context, f *storeFile, operands []string) error {
	o, err := f.options(p, operands)
	if err != nil {
		return err
	}
	progress, clear := p.gauge()
	o.Progress = progress
	started := time.Now()
	c, err := storage.Compact(ctx, o)
	clear()
	switch {
	case err != nil:
		return storeProblem(ctx, err)
	case f.json:
		return p.printJSON(c)
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s, was %s%s\n", o.Path, size(int(c.After)), size(int(c.Before)), lasted(started))
	return err
}

func storeSalvageCommand() *command {
	return &command{
		name: "store salvage", operands: "FILE", least: 1, most: 1, brief: "save what can be read of a damaged store",
		about: `Makes a new store of what can be read of a damaged one, which stays as it is, and
lists what cannot be read. An event of which something is missing is ERROR
quarantined in the new store: nobody gets it before a person has looked at it.
It needs twice the room of the file beside NEW. Look first for a backup.`,
		examples: `eventd store salvage eventd-data/eventd.db -out saved.db
eventd store salvage eventd-data/eventd.db -out saved.db -json | jq -r .damaged[]
eventd store restore -in saved.db -config routes.yaml -force`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			out := fs.String("out", "", "the new `FILE`")
			wait := fs.Duration("wait", 0, "`HOW-LONG` to wait while another process has it (default 5s)")
			asJSON := fs.Bool("json", false, "print the result as JSON")
			return func(ctx context.Context, operands []string) error {
				if *out == "" {
					return wrongUsage("-out NEW is missing")
				}
				return p.storeSalvage(ctx, storage.CommandOptions{Path: operands[0], LockTimeout: *wait}, *out, *asJSON)
			}
		},
	}
}

func (p *program) storeSalvage(ctx context.Context, o storage.CommandOptions, out string, asJSON bool) error {
	progress, clear := p.gauge()
	o.Progress = progress
	started := time.Now()
	s, err := storage.Salvage(ctx, o, out)
	clear()
	switch {
	case err != nil:
		return storeProblem(ctx, err)
	case asJSON:
		return p.printJSON(s)
	}
	for _, what := range s.Damaged {
		fmt.Fprintln(p.stdout, printable(what))
	}
	if rest := s.Damages - len(s.Damaged); rest > 0 {
		fmt.Fprintf(p.stdout, "and %d more\n", rest)
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s and %s saved, %s%s\n", out, count(s.Events, "event"),
		count(s.Outbox, "publication"), count(s.Damages, "damage"), lasted(started))
	return err
}
