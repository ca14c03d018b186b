package router

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/eventd-io/eventd/event"
)

var nativeFacts = reflect.TypeFor[facts]()

// Route leads the events it matches to handlers.
type Route struct {
	Name         string
	MessageTypes []string // names, or globs with * for any run of characters
	Table        event.Table
	When         string // CEL; "" for always
	Handlers     []string
	Continue     bool // go on with the next route after a match
	// Remember are CEL values, by the name of the member of the working data
	// that they become.
	Remember map[string]string
	// Schema holds the payload of what the route takes against what is expected;
	// nil for anything.
	Schema Checker
	// SchemaFile is where it came from, for people.
	SchemaFile string
	// Expires is how long after it was received, or was to be delivered, an event
	// is handed to a handler no more; 0 for no limit.
	Expires time.Duration
}

// table is a compiled list of routes. It does not change.
type table struct{ routes []compiled }

type compiled struct {
	Route
	when     cel.Program
	remember []remembered
}

// CheckWhen returns what is wrong with a `when` expression; nil for nothing.
func CheckWhen(expression string) error {
	c, err := newConditions()
	if err != nil {
		return err
	}
	_, err = c.compile(expression)
	return err
}

func newTable(routes []Route) (*table, error) {
	t := &table{}
	var c *conditions
	for _, r := range routes {
		entry := compiled{Route: r}
		if c == nil && (r.When != "" || len(r.Remember) > 0) {
			var err error
			if c, err = newConditions(); err != nil {
				return nil, err
			}
		}
		if err := entry.compile(c); err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
		t.routes = append(t.routes, entry)
	}
	return t, nil
}

func (r *compiled) compile(c *conditions) (err error) {
	if r.When != "" {
		if r.when, err = c.compile(r.When); err != nil {
			return fmt.Errorf("when: %w", err)
		}
	}
	if r.remember, err = c.compileRemember(r.Remember); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	return nil
}

// target is one handler that a route leads to. With a flaw it does not get the
// event: the payload does not fit the schema of the route.
type target struct{ handler, route, flaw string }

// match returns the handlers of a message, each once, in the order of the routes,
// and what else the routes ask for. w is read only if an expression reads it.
func (t *table) match(m *event.Message, w *memory) (d decision) {
	v := view{message: m, memory: w}
	for i := range t.routes {
		r := &t.routes[i]
		if !r.takes(&v) {
			continue
		}
		flaw := r.flaw(m)
		for _, h := range r.Handlers {
			d.targets = appendTarget(d.targets, target{handler: h, route: r.Name, flaw: flaw})
		}
		if flaw == "" {
			d.keep(r, &v)
			d.expires.limit(r.Expires)
		}
		if !r.Continue {
			break
		}
	}
	return d
}

func appendTarget(list []target, t target) []target {
	for i := range list {
		if list[i].handler == t.handler {
			return list
		}
	}
	return append(list, t)
}

func (r *compiled) takes(v *view) bool {
	return r.takesType(v.message) && r.takesTable(v.message) && (r.when == nil || holds(r.when, v) == nil)
}

func (r *compiled) takesType(m *event.Message) bool {
	for _, p := range r.MessageTypes {
		if glob(p, m.MessageType) {
			return true
		}
	}
	return false
}

func (r *compiled) takesTable(m *event.Message) bool { return r.Table == 0 || r.Table == m.Table }

// whyNot says why a route does not take a message; "" when it does.
func (r *compiled) whyNot(v *view) string {
	m := v.message
	switch {
	case !r.takesType(m):
		return fmt.Sprintf("message_type %q is not %s", m.MessageType, strings.Join(r.MessageTypes, " or "))
	case !r.takesTable(m):
		return fmt.Sprintf("table is %s, not %s", m.Table, r.Table)
	case r.when == nil:
		return ""
	}
	if err := holds(r.when, v); err != nil {
		return err.Error()
	}
	return ""
}

// explain says of every route whether it takes a message, and why not.
func (t *table) explain(m *event.Message, w *memory) []event.Explanation {
	list := make([]event.Explanation, 0, len(t.routes))
	v, taken := view{message: m, memory: w}, ""
	for i := range t.routes {
		r := &t.routes[i]
		e := event.Explanation{Route: r.Name}
		if taken != "" {
			e.Why = "not asked: route " + taken + " took it and does not continue"
			list = append(list, e)
			continue
		}
		if e.Why = r.whyNot(&v); e.Why == "" {
			e.Matched, e.Handlers, e.Why = true, r.Handlers, "matched"
			if e.Flaw = r.flaw(m); e.Flaw == "" {
				new(decision).keep(r, &v) // the routes after it see what it remembers
			} else {
				e.Why = "matched, but not handed on: " + e.Flaw
			}
			if !r.Continue {
				taken = r.Name
			}
		}
		list = append(list, e)
	}
	return list
}

// glob reports whether a name fits a pattern, in which * stands for any run of
// characters, none included.
func glob(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, rest)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}
