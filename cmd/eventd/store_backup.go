package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/storage"
)

func storeBackupCommand() *command {
	return &command{
		name: "store backup", brief: "copy the store of a running daemon to a file",
		about: `Copies the store of a running daemon, as it is at this moment, to a file, and
compares its digest. Everything goes on meanwhile; the daemon needs the room for
a second copy. The file is there when all of it is, or not at all.`,
		examples: `eventd store backup -out monday.db
eventd store backup -admin http://127.0.0.1:9180 -out /backup/eventd.db -force
eventd store check monday.db`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			var r remote
			r.bind(p, fs)
			out := fs.String("out", "", "the `FILE` to write")
			force := fs.Bool("force", false, "overwrite it when it is there")
			return func(ctx context.Context, _ []string) error {
				if *out == "" {
					return wrongUsage("-out FILE is missing")
				}
				return p.storeBackup(ctx, &r, *out, *force)
			}
		},
	}
}

func (p *program) storeBackup(ctx context.Context, r *remote, out string, force bool) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	f, err := create(out, force)
	if err != nil {
		return err
	}
	defer f.discard()
	progress, clear := p.gauge()
	tell, last := func(int64, int64) {}, time.Time{}
	if progress != nil {
		tell = func(done, total int64) {
			if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
				last = now
				progress("receiving", done, total)
			}
		}
	}
	started := time.Now()
	n, err := c.Backup(ctx, f, tell)
	clear()
	if err != nil {
		return r.unreached(ctx, err)
	}
	if err := f.finish(force); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s: %s%s\n", out, size(int(n)), lasted(started))
	return err
}

func storeRestoreCommand() *command {
	return &command{
		name: "store restore", brief: "put a backup in the place of a store",
		about: `Copies a backup, checks the copy as 'eventd store check' does, and puts it where
the store of a daemon is to be; the daemon must not run. A store that is there is
not overwritten: with -force it stays beside the new one under another name.`,
		examples: `eventd store restore -in monday.db -config routes.yaml
eventd store restore -in monday.db -data /var/lib/eventd/eventd-data -force`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			var f storeFile
			f.bind(fs)
			in := fs.String("in", "", "the backup `FILE`")
			force := fs.Bool("force", false, "put it in the place of a store that is there, and keep that one")
			return func(ctx context.Context, _ []string) error {
				if *in == "" {
					return wrongUsage("-in FILE is missing")
				}
				return p.storeRestore(ctx, &f, *in, *force)
			}
		},
	}
}

func (p *program) storeRestore(ctx context.Context, f *storeFile, in string, force bool) error {
	o, err := f.options(p, nil)
	if err != nil {
		return err
	}
	progress, clear := p.gauge()
	o.Progress = progress
	started := time.Now()
	r, err := storage.Restore(ctx, storage.PutOptions{CommandOptions: o, Force: force}, in)
	clear()
	switch {
	case err != nil:
		return storeProblem(ctx, err)
	case f.json:
		return p.printJSON(r)
	}
	p.tellKept(r.Kept)
	return p.printReport(r.Report, started)
}
