package router

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/eventd-io/eventd/event"
	"google.golang.org/protobuf/types/known/structpb"
)

// remembered is one value that a route merges into the working data.
type remembered struct {
	name  string
	value cel.Program
}

// CheckRemember returns what is wrong with the expression of a value that is to
// be remembered; nil for nothing.
func CheckRemember(expression string) error {
	c, err := newConditions()
	if err != nil {
		return err
	}
	_, err = c.compileValue(expression)
	return err
}

// compileRemember compiles the values of a route, in the order of their names.
func (c *conditions) compileRemember(values map[string]string) (list []remembered, err error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p, err := c.compileValue(values[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, remembered{name, p})
	}
	return list, nil
}

// decision is what the routes make of an event.
type decision struct {
	targets  []target
	remember []any    // to be merged into the working data, in this order
	notes    []string // why something could not be remembered
	expires  expiry
}

// amend returns how the working data changes; nil for not at all.
func (d *decision) amend() event.Amend {
	if len(d.remember) == 0 {
		return nil
	}
	return merging(d.remember...)
}

// effects returns what is stored when the routes take an event that none had
// taken before: one that has deliveries was remembered with them.
func (d *decision) effects(s *event.State, now time.Time) *event.Effects {
	if len(s.Deliveries) > 0 {
		return nil
	}
	s.Timeline = append(s.Timeline, d.noted(s.Status, now)...)
	return &event.Effects{Remember: d.amend()}
}

// recalls returns the conversation whose working data the effects change, if they
// change any.
func (d *decision) recalls(e *event.Event) []string {
	if len(d.remember) == 0 {
		return nil
	}
	return []string{e.CorrelationID}
}

// noted returns the notes as lines of a timeline.
func (d *decision) noted(status event.Status, now time.Time) (list []event.Entry) {
	for _, note := range d.notes {
		list = append(list, event.Entry{At: now, Status: status, Detail: note})
	}
	return list
}

// keep evaluates what a route that took an event remembers of it. A value
// that cannot be evaluated is left out, and a note says so.
func (d *decision) keep(r *compiled, v *view) {
	if len(r.remember) == 0 {
		return
	}
	values := make(map[string]any, len(r.remember))
	for _, x := range r.remember {
		value, err := evaluate(x.value, v)
		if err != nil {
			d.notes = append(d.notes, fmt.Sprintf("route %s: %s is not remembered: %v", r.Name, x.name, err))
			continue
		}
		values[x.name] = value
	}
	if len(values) > 0 {
		d.remember = append(d.remember, values)
		v.remember(values)
	}
}

var jsonValue = reflect.TypeFor[*structpb.Value]()

// evaluate returns a value as JSON has it.
func evaluate(p cel.Program, v *view) (any, error) {
	out, _, err := p.Eval(v)
	if err != nil {
		return nil, err
	}
	native, err := out.ConvertToNative(jsonValue)
	if err != nil {
		return nil, err
	}
	return native.(*structpb.Value).AsInterface(), nil
}
