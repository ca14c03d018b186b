package config

import (
	"fmt"
	"slices"
)

func (c *Config) checkRoutes() {
	names := make(map[string]int)
	for i := range c.Routes {
		path := item("routes", i)
		r := &c.Routes[i]
		if first, ok := names[r.Name]; ok {
			c.origin.addf(join(path, "name"), "%s is the name of %s already",
				c.origin.quote(join(path, "name"), r.Name), c.lineOf(first))
		} else {
			names[r.Name] = i
		}
		c.checkTargets(path, r)
		if r.OnFailure != "" && r.OrderBy == "" && c.origin.clean(path) {
			c.origin.addf(join(path, "on_failure"), "has no meaning without order_by")
		}
		c.checkTwice(join(path, "message_type"), r.MessageType)
		c.checkReachable(i)
	}
}

// lineOf names a route so that it is found.
func (c *Config) lineOf(route int) string {
	path := item("routes", route)
	return fmt.Sprintf("%s (line %d)", path, c.origin.place(path).line)
}

// checkTargets looks whether a route leads to handlers that exist.
func (c *Config) checkTargets(path string, r *Route) {
	o := c.origin
	one, many := join(path, "handler"), join(path, "handlers")
	switch {
	case o.has(one) && o.has(many):
		o.addf(many, "handler is given as well; use one of them")
	case o.has(many):
		for i, name := range r.Handlers {
			c.checkTarget(item(many, i), name)
		}
		c.checkTwice(many, r.Handlers)
	case o.has(one):
		for _, name := range r.Handlers {
			c.checkTarget(one, name)
		}
	case !o.broken[path]:
		o.addf(path, "leads nowhere; give it a handler, or handlers for several")
	}
}

func (c *Config) checkTarget(path, name string) {
	if _, ok := c.Handlers[name]; !ok && c.origin.clean(path) {
		c.origin.addf(path, "no handler is named %s%s", c.origin.quote(path, name), orElse(name, Names(c.Handlers)))
	}
}

// checkReachable notes a route that no event can ever come to.
func (c *Config) checkReachable(i int) {
	path := item("routes", i)
	r := &c.Routes[i]
	if !c.origin.clean("sources") || !c.origin.clean(join(path, "table")) || !c.origin.clean(join(path, "message_type")) {
		return
	}
	tables := c.tables()
	if r.Table != "" {
		if !slices.Contains(tables, r.Table) {
			c.origin.addf(join(path, "table"), "can never match: no source has table: %s", r.Table)
			return
		}
		tables = []string{r.Table}
	}
	if takers := c.takers(i, tables); takers != nil {
		c.origin.addf(path, "can never match: %s %s all its events before it, having neither when nor continue",
			and(takers), plural(len(takers), "takes", "take"))
	}
}

// tables returns the tables that events can come into.
func (c *Config) tables() []string {
	tables := []string{"request"} // from the API and from replies of handlers
	for _, name := range Names(c.Sources) {
		if t := c.Sources[name].Table; !slices.Contains(tables, t) {
			tables = append(tables, t)
		}
	}
	return tables
}

// takers returns the routes before route i that leave nothing for it, or nil if
// something is left.
func (c *Config) takers(i int, tables []string) []string {
	var takers []int
	for _, pattern := range c.Routes[i].MessageType {
		for _, table := range tables {
			j := slices.IndexFunc(c.Routes[:i], func(r Route) bool { return r.takes(pattern, table) })
			if j < 0 {
				return nil
			}
			takers = append(takers, j)
		}
	}
	slices.Sort(takers)
	var names []string
	for _, j := range slices.Compact(takers) {
		names = append(names, c.lineOf(j))
	}
	return names
}

// takes reports whether a route leaves no event of the table whose type
// matches pattern to the routes after it.
func (r *Route) takes(pattern, table string) bool {
	if r.Continue || r.When != "" || r.Table != "" && r.Table != table {
		return false
	}
	return slices.ContainsFunc(r.MessageType, func(own string) bool { return globCovers(own, pattern) })
}
