package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/schedule"
)

// checkSchedules finds crons and time zones that cannot be understood.
func checkSchedules(c *config.Config) (issues []config.Issue) {
	for _, name := range config.Names(c.Schedules) {
		s := c.Schedules[name]
		if s.Cron == "" { // told already
			continue
		}
		if _, err := schedule.NewRule(s.Cron, s.Timezone); err != nil {
			key := ".cron"
			if errors.Is(err, schedule.ErrTimezone) {
				key = ".timezone"
			}
			issues = append(issues, c.Issue("schedules."+name+key, err))
		}
	}
	return issues
}

func translateSchedules(c *config.Config) ([]schedule.Schedule, error) {
	list := make([]schedule.Schedule, 0, len(c.Schedules))
	for _, name := range config.Names(c.Schedules) {
		s := c.Schedules[name]
		rule, err := schedule.NewRule(s.Cron, s.Timezone)
		if err != nil {
			return nil, fmt.Errorf("schedule %s: %w", name, err)
		}
		list = append(list, schedule.Schedule{
			Name: name, Cron: s.Cron, Timezone: s.Timezone, Rule: rule, Missed: schedule.Missed(s.Missed),
			Event: event.Message{
				Event: event.Event{
					Table: event.Request, MessageType: s.MessageType, SourceService: c.Service, CreatedBy: c.Service,
					CorrelationID: s.CorrelationID, ContentType: s.ContentType, Headers: s.Headers,
				},
				Payload: []byte(s.Payload),
			},
		})
	}
	return list, nil
}

// startSchedules makes the events of schedules. It comes last, as they want all
// else to be there, and is stopped first.
func (d *Daemon) startSchedules(_ context.Context, c *config.Config) error {
	list, err := translateSchedules(c)
	if err != nil {
		return err
	}
	d.schedules.Set(list)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.schedules.Run(ctx)
	}()
	d.onStop("schedules", func(context.Context) error { cancel(); <-done; return nil })
	return nil
}

// Schedules tells how the schedules stand, in the order of their names.
func (d *Daemon) Schedules() []event.ScheduleInfo { return d.schedules.Infos() }
