package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/event"
)

func schedulesCommand() *command {
	return &command{
		name: "schedules", brief: "list the schedules, when they run next and ran last",
		about: `Lists the schedules of the daemon's configuration: when each makes its next event,
and when it made the last one. Times are UTC.`,
		examples: `eventd schedules
eventd schedules -json | jq -r '.[] | [.name, .next_dttm] | @tsv'`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			j := &jobs{}
			j.bind(p, fs)
			return j.ask(func(ctx context.Context, api *client.Client, _ []string) error {
				list, err := api.Schedules(ctx)
				if err != nil {
					return err
				}
				if j.json {
					return p.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(p.stdout, "no schedules")
					return err
				}
				return p.showSchedules(list)
			})
		},
	}
}

// showSchedules writes a table of schedules, and below it why those that cannot
// run do not.
func (p *program) showSchedules(list []event.ScheduleInfo) error {
	t := &table{columns: []column{
		{head: "NAME"}, {head: "CRON"}, {head: "TIMEZONE", least: 8, rank: 3}, {head: "MESSAGE_TYPE", least: 10, rank: 4},
		{head: "MISSED", rank: 1}, {head: "NEXT"}, {head: "LAST", rank: 5}, {head: "LAST_EVENT_ID", rank: 2},
	}}
	for _, s := range list {
		t.add(s.Name, s.Cron, s.Timezone, s.MessageType, s.Missed, moment(s.Next), moment(s.Last), s.LastEventID)
	}
	if err := t.write(p.stdout, newScreen(p.stdout, p.env)); err != nil {
		return err
	}
	for _, s := range list {
		if s.Problem != "" {
			fmt.Fprintf(p.stdout, "Schedule %s makes no events: %s\n", s.Name, printable(s.Problem))
		}
	}
	return nil
}

// moment is a time to the second; "" for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}
