package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/eventd-io/eventd/daemon"
	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/storage"
)

func storeCheckCommand() *command {
	return &command{
		name: "store check", operands: "[FILE]", most: 1, brief: "look at every page, record and index of a store",
		about: `Looks at every page, record and index of a store, and changes nothing. It needs
the file for itself: to check the store of a running daemon, check a backup of
it. Exit code 0 when it is sound, 4 when it is damaged. Records under quarantine
are listed; the daemon knows of them and hands them out to nobody.`,
		examples: `eventd store check -config routes.yaml
eventd store check monday.db
eventd store check -json -data /var/lib/eventd/eventd-data | jq .problems`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			var f storeFile
			f.bind(fs)
			return func(ctx context.Context, operands []string) error { return p.storeCheck(ctx, &f, operands) }
		},
	}
}

func (p *program) storeCheck(ctx context.Context, f *storeFile, operands []string) error {
	o, err := f.options(p, operands)
	if err != nil {
		return err
	}
	progress, clear := p.gauge()
	o.Progress = progress
	started := time.Now()
	report, err := storage.Check(ctx, o)
	clear()
	if err != nil {
		return storeProblem(ctx, err)
	}
	if f.json {
		err = p.printJSON(report)
	} else {
		err = p.printReport(report, started)
	}
	if err != nil || report.Clean() {
		return err
	}
	p.say("%s is damaged: restore a backup, or save what can be read: eventd store salvage %s -out NEW", report.Path, report.Path)
	return silent(daemon.ExitStoreCorrupt)
}

// printReport writes what a check found for people.
func (p *program) printReport(r *storage.Report, started time.Time) error {
	verdict := "sound"
	if !r.Clean() {
		verdict = "DAMAGED, " + count(r.Damages, "problem")
	}
	fmt.Fprintf(p.stdout, "%s: %s (%s, %s free; %s, %s in the outbox; checked%s)\n\n", r.Path, verdict,
		size(int(r.Size)), size(int(r.Free)), count(r.Events, "event"), strconv.Itoa(r.Outbox), lasted(started))
	if r.Journal > 0 {
		fmt.Fprintf(p.stdout, "%s in the journal, which the next start of eventd brings into the tables\n\n", count(r.Journal, "event"))
	}
	s := newScreen(p.stdout, p.env)
	if err := countTable(r.Counts).write(p.stdout, s); err != nil {
		return err
	}
	for i, problem := range r.Problems {
		if i == 0 {
			fmt.Fprintln(p.stdout)
		}
		fmt.Fprintln(p.stdout, printable(problem))
	}
	if rest := r.Damages - len(r.Problems); rest > 0 {
		fmt.Fprintf(p.stdout, "and %d more\n", rest)
	}
	if len(r.Quarantined) == 0 {
		return nil
	}
	fmt.Fprintf(p.stdout, "\nUnder quarantine:\n")
	return quarantineTable(r.Quarantined).write(p.stdout, s)
}

// countTable shows events by table and status.
func countTable(counts event.Counts) *table {
	t := &table{columns: []column{{head: "TABLE"}}}
	for _, status := range event.Statuses {
		t.columns = append(t.columns, column{head: status.String(), right: true})
	}
	for _, name := range event.Tables {
		row := []string{name.String()}
		for _, status := range event.Statuses {
			row = append(row, strconv.Itoa(counts[name][status]))
		}
		t.add(row...)
	}
	return t
}

func quarantineTable(list []storage.Quarantine) *table {
	t := &table{columns: []column{{head: "RECORD"}, {head: "EVENT ID"}, {head: "WHY", least: 20}}}
	for _, q := range list {
		record := "event " + strconv.FormatUint(q.Seq, 10)
		if q.Seq == 0 {
			record = "outbox row " + strconv.FormatUint(q.Outbox, 10)
		}
		t.add(record, q.ID, q.Why)
	}
	return t
}
