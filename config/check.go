package config

import (
	"net"
	"os"
	"strings"
)

// check finds what is wrong between values; what is wrong with one alone was
// found when it was decoded.
func (c *Config) check() {
	c.checkListeners()
	c.checkAdmin()
	c.checkNATS()
	c.checkStreams()
	c.checkSources()
	for _, name := range Names(c.Retry) {
		c.checkPolicy(join("retry", name), c.Retry[name])
	}
	for _, name := range Names(c.Handlers) {
		h := c.Handlers[name]
		c.checkHandler(join("handlers", name), &h)
	}
	c.checkRoutes()
	for _, name := range Names(c.Schedules) {
		s := c.Schedules[name]
		c.checkSchedule(join("schedules", name), &s)
	}
	c.addAutomaticStreams()
	c.checkClaims()
}

func (c *Config) checkListeners() {
	paths := []string{"nats.embedded.listen", "admin.listen", "metrics.listen"}
	addresses := []string{"", c.Admin.Listen, c.Metrics.Listen}
	if c.NATS.Embedded != nil {
		addresses[0] = c.NATS.Embedded.Listen
	}
	for i := range paths {
		for j := range i {
			at, other := i, j
			if !c.origin.has(paths[i]) { // it has its default, so the other one is to be changed
				at, other = j, i
			}
			if sameListener(addresses[i], addresses[j]) {
				c.origin.addf(paths[at], "%q is taken by %s, %q", addresses[at], paths[other], addresses[other])
			}
		}
	}
}

// sameListener reports whether two listeners cannot both have their address.
func sameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func everywhere(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func (c *Config) checkAdmin() {
	const path = "admin.token_file"
	switch {
	case !c.origin.clean("admin"):
	case c.Admin.TokenFile == "" && !loopback(c.Admin.Listen):
		c.origin.addf("admin.listen", "%s is reachable from other machines, so admin.token_file is needed "+
			"(or listen on 127.0.0.1)", c.origin.quote("admin.listen", c.Admin.Listen))
	case c.Admin.TokenFile != "" && blankFile(c.Admin.TokenFile):
		c.origin.addf(path, "the file is empty; expected a token")
	}
}

func blankFile(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(data)) == ""
}

// checkNATS finds keys that contradict each other.
func (c *Config) checkNATS() {
	c.checkCredentials()
	// Where a variable decides which server it is, the file may have what is
	// for the other one.
	decided := !c.origin.varied["nats.url"] && !c.origin.varied["nats.context"]
	if c.NATS.External() {
		if decided {
			c.forbid("nats.embedded", "is for the server inside eventd, but "+c.externalKey()+" is given")
		}
		return
	}
	if decided && !c.origin.has("nats.url") {
		for _, key := range append([]string{"password_file", "tls"}, credentials...) {
			c.forbid(join("nats", key), "is for an external server, but no nats.url is given")
		}
	}
	for _, name := range Names(c.NATS.Streams) {
		path := join(join("nats.streams", name), "replicas")
		if n := c.NATS.Streams[name].Replicas; n > 1 && c.origin.clean(path) {
			c.origin.addf(path, "%d is too many: the server inside eventd stands alone", n)
		}
	}
}

var credentials = []string{"credentials_file", "user", "nkey_file", "token_file", "context"}

func (c *Config) checkCredentials() {
	o := c.origin
	given := ""
	for _, key := range credentials {
		switch path := join("nats", key); {
		case !o.has(path):
		case given != "":
			o.addf(path, "%s is given as well; use one way to sign in", given)
		default:
			given = key
		}
	}
	o.together("nats", "user", "password_file")
	o.together("nats.tls", "cert_file", "key_file")
}

// externalKey returns the key that makes the server an external one.
func (c *Config) externalKey() string {
	if c.NATS.URL != "" {
		return "nats.url"
	}
	return "nats.context"
}

// forbid notes that the key at path has no place beside others.
func (c *Config) forbid(path, why string) {
	if c.origin.has(path) {
		c.origin.addf(path, "%s", why)
	}
}

// together notes that of two keys only one is given.
func (o *origin) together(path, a, b string) {
	hasA, hasB := o.has(join(path, a)), o.has(join(path, b))
	if hasA && !hasB && !o.broken[path] {
		o.addf(join(path, a), "needs %s too", b)
	}
	if hasB && !hasA && !o.broken[path] {
		o.addf(join(path, b), "needs %s too", a)
	}
}

// checkPolicy finds keys that do not go with the kind of backoff, and delays
// that contradict each other.
func (c *Config) checkPolicy(path string, p Policy) {
	o := c.origin
	if o.has(join(path, "schedule")) {
		for _, key := range []string{"backoff", "initial", "factor", "max"} {
			c.forbid(join(path, key), "has no place beside schedule, which lists the delays itself")
		}
		if n := len(p.Schedule) + 1; o.clean(path) && (p.MaxAttempts > n || p.MaxAttempts == 0) {
			o.addf(join(path, "max_attempts"), "the schedule has %d %s, which is enough for %d attempts",
				n-1, plural(n-1, "delay", "delays"), n)
		}
		return
	}
	if !o.clean(path) {
		return
	}
	switch p.Backoff {
	case "constant":
		c.forbid(join(path, "max"), "has no meaning with backoff: constant, whose delay is initial")
		c.forbid(join(path, "factor"), "is for backoff: exponential")
	case "linear":
		c.forbid(join(path, "factor"), "is for backoff: exponential")
		fallthrough
	default:
		c.checkDelays(path, p)
	}
}

func (c *Config) checkDelays(path string, p Policy) {
	at, note := join(path, "max"), ""
	if !c.origin.has(at) {
		at, note = join(path, "initial"), ", which max is when it is not given"
	}
	if p.Max < p.Initial {
		if note != "" {
			c.origin.addf(at, "%s is longer than %s%s", formatDuration(p.Initial), formatDuration(p.Max), note)
			return
		}
		c.origin.addf(at, "%s is shorter than initial, %s", formatDuration(p.Max), formatDuration(p.Initial))
	}
}
