package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/eventd-io/eventd/daemon"
	"github.com/eventd-io/eventd/storage"
)

func storeDumpCommand() *command {
	return &command{
		name: "store dump", operands: "[FILE]", most: 1, brief: "write a store as JSON lines, one for each event",
		about: `Writes a store as JSON lines: each event with its state, deliveries, timeline and
payloads, then the outbox and the rest. It is for moving to another version and
for looking at: 'eventd store load' makes a store of it. It needs the file for
itself; dump a backup of a running daemon. Exit code 4 when something could not
be read; the rest is written all the same.`,
		examples: `eventd store dump -config routes.yaml -out eventd.jsonl
eventd store dump monday.db | jq -c '.event | select(.status == "FAILED")'
eventd store dump monday.db | gzip > monday.jsonl.gz`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			var f storeFile
			f.bind(fs)
			out := fs.String("out", "-", "the `FILE` to write; - is standard output")
			force := fs.Bool("force", false, "overwrite it when it is there")
			return func(ctx context.Context, operands []string) error {
				o, err := f.options(p, operands)
				if err != nil {
					return err
				}
				return p.storeDump(ctx, o, *out, *force, f.json)
			}
		},
	}
}

func (p *program) storeDump(ctx context.Context, o storage.CommandOptions, out string, force, asJSON bool) error {
	if out == "-" {
		d, err := p.dumpTo(ctx, o, p.stdout)
		return p.concludeDump(d, err)
	}
	if err := notItself(o.Path, out); err != nil {
		return err
	}
	f, err := create(out, force)
	if err != nil {
		return err
	}
	defer f.discard()
	started := time.Now()
	d, err := p.dumpTo(ctx, o, f)
	if err != nil {
		return err
	}
	if err := f.finish(force); err != nil {
		return err
	}
	if asJSON {
		err = p.printJSON(d)
	} else {
		_, err = fmt.Fprintf(p.stdout, "%s: %s and %s%s\n", out, count(d.Events, "event"), count(d.Outbox, "publication"), lasted(started))
	}
	return p.concludeDump(d, err)
}

func (p *program) dumpTo(ctx context.Context, o storage.CommandOptions, w io.Writer) (storage.Dumped, error) {
	progress, clear := p.gauge()
	o.Progress = progress
	buffered := bufio.NewWriterSize(w, 1<<20)
	d, err := storage.Dump(ctx, o, buffered)
	clear()
	if err == nil {
		err = buffered.Flush()
	}
	return d, storeProblem(ctx, err)
}

// concludeDump lists what is missing.
func (p *program) concludeDump(d storage.Dumped, err error) error {
	if err != nil || d.Damages == 0 {
		return err
	}
	for _, what := range d.Damaged {
		fmt.Fprintln(p.stderr, printable(what))
	}
	p.say("the dump lacks what could not be read: %s", count(d.Damages, "damage"))
	return silent(daemon.ExitStoreCorrupt)
}

func storeLoadCommand() *command {
	return &command{
		name: "store load", brief: "make a store of a dump",
		about: `Makes a store of what 'eventd store dump' wrote, in this or an earlier version,
checks it, and puts it in its place: all of it or nothing. The daemon must not
run. A store that is there is not overwritten: with -force it stays beside the
new one under another name.`,
		examples: `eventd store load -in eventd.jsonl -config routes.yaml
zcat monday.jsonl.gz | eventd store load -data /var/lib/eventd/eventd-data`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			var f storeFile
			f.bind(fs)
			in := fs.String("in", "-", "the `FILE` with the dump; - is standard input")
			force := fs.Bool("force", false, "put it in the place of a store that is there, and keep that one")
			return func(ctx context.Context, _ []string) error { return p.storeLoad(ctx, &f, *in, *force) }
		},
	}
}

func (p *program) storeLoad(ctx context.Context, f *storeFile, in string, force bool) error {
	o, err := f.options(p, nil)
	if err != nil {
		return err
	}
	from := p.stdin
	if in != "-" {
		file, err := os.Open(in)
		if err != nil {
			return err
		}
		defer file.Close() // read only
		from = file
	} else if isTerminal(p.stdin) {
		return wrongUsage("-in FILE is missing")
	}
	progress, clear := p.gauge()
	o.Progress = progress
	started := time.Now()
	l, err := storage.Load(ctx, storage.PutOptions{CommandOptions: o, Force: force}, from)
	clear()
	switch {
	case err != nil:
		return storeProblem(ctx, err)
	case f.json:
		return p.printJSON(l)
	}
	p.tellKept(l.Kept)
	_, err = fmt.Fprintf(p.stdout, "%s: %s and %s%s\n", o.Path, count(l.Events, "event"), count(l.Outbox, "publication"), lasted(started))
	return err
}
