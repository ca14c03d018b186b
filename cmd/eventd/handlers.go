package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/event"
)

func handlersListCommand() *command {
	return &command{
		name: "handlers list", brief: "list the handlers, and why one gets no events",
		about: `Lists where events go: what runs, what is due and waits (QUEUE), what is to be
tried again later (RETRIES), and why a handler gets nothing at present.`,
		examples: "eventd handlers list\neventd handlers list -json | jq '.[] | select(.paused) | .name'",
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			r := &remote{}
			r.bind(p, fs)
			asJSON := fs.Bool("json", false, "print it as JSON")
			return func(ctx context.Context, _ []string) error {
				api, err := r.client()
				if err != nil {
					return err
				}
				list, err := api.Handlers(ctx)
				switch {
				case err != nil:
					return r.unreached(ctx, err)
				case *asJSON:
					return p.printJSON(list)
				}
				return p.showHandlers(list)
			}
		},
	}
}

func handlersPauseCommand() *command {
	return &command{
		name: "handlers pause", operands: "NAME", least: 1, most: 1, brief: "let the events of a handler wait",
		about: `Pauses a handler until it is resumed, over restarts. What runs is finished; its
events wait and no attempt of them is counted.`,
		examples: "eventd handlers pause ledger",
		bind:     bindTurn((*client.Client).PauseHandler, "is paused"),
	}
}

func handlersResumeCommand() *command {
	return &command{
		name: "handlers resume", operands: "NAME", least: 1, most: 1, brief: "let the events of a paused handler go on",
		about:    "Ends the pause of a handler, also one that began with its answer 410.",
		examples: "eventd handlers resume ledger",
		bind:     bindTurn((*client.Client).ResumeHandler, "gets events again"),
	}
}

func bindTurn(turn func(*client.Client, context.Context, string) error, done string) func(*program, *flag.FlagSet) func(context.Context, []string) error {
	return func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
		r := &remote{}
		r.bind(p, fs)
		return func(ctx context.Context, operands []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			if err := turn(api, ctx, operands[0]); err != nil {
				return r.unreached(ctx, err)
			}
			_, err = fmt.Fprintf(p.stdout, "%s %s\n", operands[0], done)
			return err
		}
	}
}

func (p *program) showHandlers(list []event.HandlerInfo) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(p.stdout, "no handlers")
		return err
	}
	t := &table{columns: []column{
		{head: "NAME"}, {head: "KIND", rank: 4}, {head: "TARGET", least: 16, rank: 2}, {head: "RUNNING", right: true},
		{head: "QUEUE", right: true}, {head: "RETRIES", right: true}, {head: "STATE", least: 12, colour: handlerColour},
	}}
	for i := range list {
		h := &list[i]
		running := strconv.Itoa(h.Claims)
		if h.Concurrency > 0 {
			running = fmt.Sprintf("%d/%d", h.InFlight, h.Concurrency)
		}
		t.add(h.Name, h.Kind, h.Target, running, strconv.Itoa(h.Queue), strconv.Itoa(h.Retries), handlerState(h, time.Now()))
	}
	return t.write(p.stdout, newScreen(p.stdout, p.env))
}

// openState is what is said of a handler that nothing keeps events from.
const openState = "open"

// handlerState says why a handler gets no events, or fewer than it could take.
func handlerState(h *event.HandlerInfo, now time.Time) string {
	var why []string
	if h.Paused {
		why = append(why, "paused: "+h.PauseReason)
	}
	if !h.UnhealthySince.IsZero() {
		why = append(why, "unhealthy since "+instant(h.UnhealthySince)+": "+h.HealthProblem)
	}
	if h.BreakerUntil.After(now) {
		why = append(why, "breaker open until "+instant(h.BreakerUntil))
	} else if !h.BreakerUntil.IsZero() {
		why = append(why, "breaker: one attempt decides")
	}
	if !h.RestUntil.IsZero() {
		why = append(why, "resting until "+instant(h.RestUntil))
	}
	if h.RateLimited {
		why = append(why, "at its rate limit")
	}
	if len(why) == 0 && h.Ramp > 0 {
		why = append(why, fmt.Sprintf("beginning gently: %d at once", h.Ramp))
	}
	if len(why) == 0 {
		return openState
	}
	return strings.Join(why, "; ")
}

func handlerColour(state string) string {
	if state == openState {
		return green
	}
	return yellow
}
