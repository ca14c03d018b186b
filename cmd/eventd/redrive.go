package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// redriving is one `eventd events redrive`: of one event, or of all that filters
// select.
type redriving struct {
	change
	handler string
	data    text
	file    string

	filter filter
	rate   string
	dryRun bool
	yes    bool
	detach bool
}

func redriveCommand() *command {
	return &command{
		name: "events redrive", operands: "[EVENT_ID]", most: 1, brief: "have events handled again",
		about: `Has an event handled again that has ended: attempts count from 0 again. Of an
event with several handlers those are asked again that have not completed, or
all when all have; with -delivery that one alone, whatever the others do. With
-handler it goes to that one instead; with -data or -file another payload goes out
from now on, and the one so far is kept.

With -filter instead of an id it is about all events that the filters select:
of those that are ERROR or FAILED, unless a status is named. It asks before it
begins (-yes does not), and then shows how far it is. The daemon does the work:
it goes on when this ends, and after a restart. See 'eventd redrives'. Keys are
status, handler, reason, message_type, table, route, source_service,
correlation_id, since and until.`,
		examples: `eventd events redrive 7f3a -reason 'the bank is back'
eventd events redrive 7f3a -handler service-a2
eventd events redrive 7f3a -delivery ledger
eventd events redrive 7f3a -table request -source-service SERVICE_A
eventd events redrive 7f3a -data '{"amount": 10}' -reason 'the sign was wrong'
eventd events redrive -filter handler=ledger -filter since=6h -dry-run
eventd events redrive -filter handler=ledger -filter since=6h -rate 20/s -yes`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			r := &redriving{}
			r.bind(p, fs)
			return func(ctx context.Context, operands []string) error { return r.run(ctx, p, operands) }
		},
	}
}

func (r *redriving) bind(p *program, fs *flag.FlagSet) {
	r.change.bind(p, fs)
	fs.StringVar(&r.handler, "handler", "", "hand it to this handler instead (its `NAME`)")
	fs.Var(&r.data, "data", "another payload, a `TEXT`")
	fs.StringVar(&r.file, "file", "", "`FILE` with another payload, - for standard input")
	fs.Var(&r.filter, "filter", "all events for which `KEY=VALUE` holds; may be repeated")
	fs.StringVar(&r.rate, "rate", "", "with -filter: at most so many, a `RATE` such as 20/s, 100/m or 5/h")
	fs.BoolVar(&r.dryRun, "dry-run", false, "with -filter: tell which they are, and change nothing")
	fs.BoolVar(&r.yes, "yes", false, "with -filter: do not ask")
	fs.BoolVar(&r.detach, "detach", false, "with -filter: do not wait for the end")
}

func (r *redriving) run(ctx context.Context, p *program, operands []string) error {
	if err := r.check(operands); err != nil {
		return err
	}
	if r.filter.given {
		return r.unreached(ctx, r.many(ctx, p))
	}
	payload, err := r.payload(p)
	if err != nil {
		return err
	}
	payload.Delivery, payload.Handler, payload.Reason = r.delivery, r.handler, r.reason
	return r.action(p, func(ctx context.Context, api *client.Client, id string) (wire.Row, error) {
		return api.Redrive(ctx, id, r.which, payload)
	})(ctx, operands)
}

// check finds what does not go together.
func (r *redriving) check(operands []string) error {
	switch {
	case r.filter.given && len(operands) > 0:
		return wrongUsage("an EVENT_ID and -filter cannot both be given")
	case r.filter.given && (r.which != client.Which{}):
		return wrongUsage("with -filter it is -filter table=TABLE and -filter source_service=SERVICE")
	case r.filter.given && r.delivery != "":
		return wrongUsage("with -filter it is -filter handler=NAME")
	case r.filter.given && (r.data.given || r.file != ""):
		return wrongUsage("another payload is for one event, not for many")
	case !r.filter.given && len(operands) == 0:
		return wrongUsage("eventd events redrive needs EVENT_ID or -filter KEY=VALUE")
	case !r.filter.given && (r.rate != "" || r.dryRun || r.yes || r.detach):
		return wrongUsage("-rate, -dry-run, -yes and -detach go with -filter")
	}
	return nil
}

// payload returns the edited payload in the form that brings any bytes through.
func (r *redriving) payload(p *program) (order wire.Redrive, err error) {
	given := &outgoing{data: r.data, file: r.file}
	body, err := given.payload(p, false)
	if err != nil || body == nil {
		return order, err
	}
	value := string(body)
	order.Encoding = wire.EncodingText
	if !utf8.Valid(body) {
		order.Encoding, value = wire.EncodingBase64, base64.StdEncoding.EncodeToString(body)
	}
	order.Payload, err = json.Marshal(value)
	return order, err
}

// many redrives all that the filter selects.
func (r *redriving) many(ctx context.Context, p *program) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	order := wire.NewRedrive{Filter: r.filter.RedriveFilter, Rate: r.rate, Handler: r.handler, Reason: r.reason}
	if r.dryRun || !r.yes {
		wanted, err := r.plan(ctx, p, api, order)
		if err != nil || !wanted {
			return err
		}
	}
	answer, err := api.StartRedrive(ctx, order)
	if err != nil {
		return err
	}
	return r.follow(ctx, p, api, *answer.Redrive)
}

// plan tells what a redrive would be about, and asks whether it shall be. It
// returns false when it shall not.
func (r *redriving) plan(ctx context.Context, p *program, api *client.Client, order wire.NewRedrive) (bool, error) {
	if !r.dryRun && !isTerminal(p.stdin) {
		return false, wrongUsage("nobody is there to be asked: give -yes, or -dry-run to see what it would be about")
	}
	order.DryRun = true
	answer, err := api.StartRedrive(ctx, order)
	if err != nil {
		return false, err
	}
	switch {
	case r.dryRun && r.json:
		return false, p.printJSON(answer.DryRun)
	case r.dryRun:
		return false, p.showPlan(answer.DryRun)
	}
	if err := p.showPlan(answer.DryRun); err != nil || answer.DryRun.Events == 0 {
		return false, err
	}
	return p.confirm(ctx, fmt.Sprintf("Redrive %s?", atLeast(answer.DryRun)))
}

func atLeast(plan *wire.RedrivePlan) string {
	if plan.Complete {
		return count(plan.Events, "event")
	}
	return "more than " + count(plan.Events, "event")
}

// confirm asks a question that is answered with y or n.
func (p *program) confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(p.stdin).ReadString('\n') // an end of input is a no
		line <- text
	}()
	select {
	case text := <-line:
		text = strings.ToLower(strings.TrimSpace(text))
		if text == "y" || text == "yes" {
			return true, nil
		}
		fmt.Fprintln(p.stderr, "Nothing was changed.")
		return false, silent(1)
	case <-ctx.Done():
		return false, errors.New("interrupted")
	}
}

// showPlan writes what a redrive would be about.
func (p *program) showPlan(plan *wire.RedrivePlan) error {
	s := newScreen(p.stdout, p.env)
	fmt.Fprintf(p.stdout, "%s\n", atLeast(plan))
	if plan.Events == 0 {
		return nil
	}
	t := &table{columns: []column{{head: "BY"}, {head: "NAME", least: 16}, {head: "EVENTS", right: true}}}
	for _, part := range []struct {
		by     string
		counts map[string]int
	}{{"status", plan.ByStatus}, {"reason", plan.ByReason}, {"message_type", plan.ByMessageType}, {"handler", plan.ByHandler}} {
		for _, name := range byCount(part.counts) {
			t.add(part.by, cmp.Or(name, "-"), strconv.Itoa(part.counts[name]))
		}
	}
	fmt.Fprintln(p.stdout)
	if err := t.write(p.stdout, s); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\n%s\n", s.paint("The oldest", bold))
	return p.showRows(plan.Samples)
}

// byCount returns the names with the largest counts first.
func byCount(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}

// filterKeys are what -filter knows: the fields of a filter of the API.
var filterKeys = []string{
	"status", "handler", "reason", "message_type", "table", "route", "source_service", "correlation_id", "since", "until",
}

// filter is the value of -filter, which may be repeated.
type filter struct {
	wire.RedriveFilter
	given bool
}

func (*filter) String() string { return "" }

// Set implements [flag.Value].
func (f *filter) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || value == "" {
		return errors.New("expected KEY=VALUE")
	}
	fields := map[string]*string{
		"table": &f.Table, "status": &f.Status, "message_type": &f.MessageType, "handler": &f.Handler, "route": &f.Route,
		"reason": &f.Reason, "source_service": &f.SourceService, "correlation_id": &f.CorrelationID,
		"since": &f.Since, "until": &f.Until,
	}
	field, known := fields[key]
	if !known {
		return fmt.Errorf("there is no key %q%s", key, didYouMean(key, filterKeys, ""))
	}
	if *field != "" {
		return fmt.Errorf("%s is given twice", key)
	}
	*field, f.given = value, true
	return f.checkNames()
}

// checkNames finds names that the daemon would refuse; any case will do here.
func (f *filter) checkNames() error {
	if f.Status != "" {
		status, err := event.ParseStatus(f.Status)
		if err != nil {
			return err
		}
		f.Status = status.String()
	}
	if f.Table != "" {
		if _, err := event.ParseTable(f.Table); err != nil {
			return err
		}
	}
	return nil
}
