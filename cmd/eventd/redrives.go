package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// jobs is one `eventd redrives list`, `show` or `cancel`.
type jobs struct {
	remote
	json bool
}

func redrivesListCommand() *command {
	return &command{
		name: "redrives list", brief: "list the redrives of many events",
		about: `Lists the redrives that 'eventd events redrive -filter' has begun, the newest
first: those that run, and the last hundred that have ended.`,
		examples: "eventd redrives list\neventd redrives list -json | jq '.[] | select(.state == \"RUNNING\")'",
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			j := &jobs{}
			j.bind(p, fs)
			return j.ask(func(ctx context.Context, api *client.Client, _ []string) error {
				list, err := api.Redrives(ctx)
				if err != nil {
					return err
				}
				if j.json {
					return p.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(p.stdout, "no redrives")
					return err
				}
				return p.showJobs(list...)
			})
		},
	}
}

func redrivesShowCommand() *command {
	return &command{
		name: "redrives show", operands: "ID", least: 1, most: 1, brief: "show how far a redrive is",
		about: "Shows a redrive of many events: what it is about and how far it is.",
		examples: `eventd redrives show 3
eventd redrives show 3 -json | jq .progress`,
		bind: bindJob((*client.Client).ShowRedrive),
	}
}

func redrivesCancelCommand() *command {
	return &command{
		name: "redrives cancel", operands: "ID", least: 1, most: 1, brief: "cancel a redrive",
		about:    "Ends a redrive before it is through. What it has redriven so far stays so.",
		examples: "eventd redrives cancel 3",
		bind:     bindJob((*client.Client).CancelRedrive),
	}
}

// bindJob returns what asks for a job, or for a change of it, and shows it.
func bindJob(ask func(*client.Client, context.Context, string) (wire.RedriveJob, error)) func(*program, *flag.FlagSet) func(context.Context, []string) error {
	return func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
		j := &jobs{}
		j.bind(p, fs)
		return j.ask(func(ctx context.Context, api *client.Client, operands []string) error {
			job, err := ask(api, ctx, operands[0])
			if err != nil {
				return err
			}
			return p.showJob(job, j.json)
		})
	}
}

func (j *jobs) bind(p *program, fs *flag.FlagSet) {
	j.remote.bind(p, fs)
	fs.BoolVar(&j.json, "json", false, "print it as JSON")
}

func (j *jobs) ask(do func(context.Context, *client.Client, []string) error) func(context.Context, []string) error {
	return func(ctx context.Context, operands []string) error {
		api, err := j.client()
		if err != nil {
			return err
		}
		return j.unreached(ctx, do(ctx, api, operands))
	}
}

func (p *program) showJob(job wire.RedriveJob, asJSON bool) error {
	if asJSON {
		return p.printJSON(job)
	}
	return p.showJobs(job)
}

// showJobs writes a table of jobs, and below it why those that wait do.
func (p *program) showJobs(list ...wire.RedriveJob) error {
	t := &table{columns: []column{
		{head: "ID", right: true}, {head: "STATE", colour: jobColour},
		{head: "DONE", right: true}, {head: "SKIPPED", right: true, rank: 5}, {head: "FAILED", right: true, rank: 4},
		{head: "PROGRESS", right: true}, {head: "RATE", rank: 3}, {head: "CREATED", rank: 1},
		{head: "BY", least: 6, rank: 2}, {head: "FILTER", least: 16, rank: 7}, {head: "REASON", least: 10, rank: 6},
	}}
	for _, j := range list {
		t.add(j.ID, j.State, strconv.Itoa(j.Done), strconv.Itoa(j.Skipped), strconv.Itoa(j.Failed),
			percent(j.Progress), j.Rate, instant(j.CreatedDttm.Time), j.CreatedBy, filterText(j), j.Reason)
	}
	if err := t.write(p.stdout, newScreen(p.stdout, p.env)); err != nil {
		return err
	}
	for _, j := range list {
		if j.Waiting != "" {
			fmt.Fprintf(p.stdout, "Redrive %s waits: %s.\n", j.ID, printable(j.Waiting))
		}
	}
	return nil
}

func jobColour(state string) string {
	switch event.RedriveState(state) {
	case event.RedriveRunning:
		return cyan
	case event.RedriveCompleted:
		return green
	}
	return yellow
}

func percent(part float64) string { return fmt.Sprintf("%.0f%%", part*100) }

// filterText writes a filter as -filter takes it, and where the events go.
func filterText(j wire.RedriveJob) string {
	f := j.Filter
	var list []string
	for _, part := range [][2]string{
		{"status", f.Status}, {"handler", f.Handler}, {"reason", f.Reason}, {"message_type", f.MessageType},
		{"table", f.Table}, {"route", f.Route}, {"source_service", f.SourceService},
		{"correlation_id", f.CorrelationID}, {"since", f.Since}, {"until", f.Until},
	} {
		if part[1] != "" {
			list = append(list, part[0]+"="+part[1])
		}
	}
	if j.Handler != "" {
		list = append(list, "to "+j.Handler)
	}
	return strings.Join(list, " ")
}

// followEvery is how often the daemon is asked how far a redrive is.
const followEvery = 300 * time.Millisecond

// follow waits until a redrive has ended, tells on a terminal how far it is, and
// shows it then. Without anyone who waits it goes on.
func (r *redriving) follow(ctx context.Context, p *program, api *client.Client, job wire.RedriveJob) error {
	if r.detach {
		return p.showJob(job, r.json)
	}
	progress := &progress{p: p, on: newScreen(p.stderr, p.env).terminal}
	defer progress.clear()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for event.RedriveState(job.State) == event.RedriveRunning {
		progress.line(jobLine(job))
		select {
		case <-ctx.Done():
			progress.clear()
			p.say("interrupted; redrive %s goes on: eventd redrives show %s, eventd redrives cancel %s", job.ID, job.ID, job.ID)
			return silent(1)
		case <-tick.C:
		}
		next, err := api.ShowRedrive(ctx, job.ID)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("redrive %s goes on, but cannot be followed: %w", job.ID, err)
		}
		if err == nil {
			job = next
		}
	}
	progress.clear()
	if err := p.showJob(job, r.json); err != nil {
		return err
	}
	if job.Failed > 0 {
		return errors.New(count(job.Failed, "event") + " could not be read; the daemon's log has more")
	}
	return nil
}

func jobLine(j wire.RedriveJob) string {
	line := fmt.Sprintf("%s  %s redriven", percent(j.Progress), count(j.Done, "event"))
	if j.Skipped > 0 {
		line += fmt.Sprintf(", %d skipped", j.Skipped)
	}
	if j.Waiting != "" {
		line += ", waiting: " + printable(j.Waiting)
	}
	return line
}
