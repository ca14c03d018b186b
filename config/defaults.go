package config

import (
	"cmp"
	"reflect"
	"slices"
	"time"
)

// DefaultPolicy is the name of the retry policy that is used where none is named.
const DefaultPolicy = "default"

// initial returns what a file that says nothing means, but for what depends on
// other values: see complete.
func initial() *Config {
	return &Config{
		DataDir:    "./eventd-data",
		Log:        Log{Level: "info", Format: "json"},
		Durability: "disk",
		Store: Store{
			Sync: "always", LockTimeout: 5 * time.Second, DedupeWindow: 24 * time.Hour, MaxSize: 4 << 30,
			Retention: Retention{
				Completed: 72 * time.Hour, Error: 720 * time.Hour, Failed: 720 * time.Hour, Payload: 72 * time.Hour,
			},
		},
		Admin:           Admin{Listen: "127.0.0.1:9180"},
		Metrics:         Metrics{Listen: ":9181"},
		ShutdownTimeout: 25 * time.Second,
	}
}

// fresh returns the value that an entry of a map, or a block behind a pointer,
// has before its keys are read.
func fresh(t reflect.Type) reflect.Value {
	switch t {
	case reflect.TypeFor[Embedded]():
		return reflect.ValueOf(embedded())
	case reflect.TypeFor[Stream]():
		return reflect.ValueOf(Stream{Replicas: 1})
	case reflect.TypeFor[Batch]():
		return reflect.ValueOf(Batch{Max: 100, Wait: 50 * time.Millisecond})
	case reflect.TypeFor[Source]():
		return reflect.ValueOf(Source{Table: "inbound", MaxAckPending: 1024, AckWait: 30 * time.Second})
	case reflect.TypeFor[Policy]():
		return reflect.ValueOf(builtIn())
	case reflect.TypeFor[Breaker]():
		return reflect.ValueOf(Breaker{Failures: 5, Open: 30 * time.Second})
	case reflect.TypeFor[Health]():
		return reflect.ValueOf(Health{Path: "/healthz", Interval: 5 * time.Second, Timeout: 500 * time.Millisecond, Failures: 3})
	case reflect.TypeFor[Verify]():
		return reflect.ValueOf(Verify{Tolerance: 5 * time.Minute})
	case reflect.TypeFor[PollHandler]():
		return reflect.ValueOf(PollHandler{Lease: 30 * time.Second})
	case reflect.TypeFor[Handler]():
		return reflect.ValueOf(handler())
	case reflect.TypeFor[Schedule]():
		return reflect.ValueOf(Schedule{Timezone: "UTC", Payload: "{}", ContentType: "application/json", Missed: "once"})
	default:
		return reflect.Zero(t)
	}
}

func embedded() Embedded { return Embedded{Listen: "127.0.0.1:4222"} }

// automaticMaxAge is how long a stream that eventd adds by itself keeps messages.
const automaticMaxAge = 7 * 24 * time.Hour

func builtIn() Policy {
	return Policy{
		Backoff: "exponential", Initial: time.Second, Factor: 2, Max: 5 * time.Minute, Jitter: 0.2,
		MaxAttempts: 15, MaxElapsed: 24 * time.Hour,
	}
}

// topicConcurrency is the default for topics: a publication costs no one but the
// time until its PubAck, and servers acknowledge hundreds together.
const topicConcurrency = 512

// batchConcurrency is the default with batches, of which each holds many events.
const batchConcurrency = 8

// Defaults of asynchronous handlers.
const (
	asyncTimeout = 10 * time.Minute
	asyncMax     = 1000
)

func handler() Handler {
	return Handler{
		Timeout: 10 * time.Second, Concurrency: 64, Format: "binary", Retry: DefaultPolicy,
		RetryOn: []string{"5xx", "404", "408", "409", "425", "429"},
	}
}

// complete fills in what depends on other values, and takes out what has no
// meaning beside them.
func (c *Config) complete() {
	c.completeNATS()
	for name, s := range c.Sources {
		orDefault(&s.SourceService, name)
		orDefault(&s.TargetService, c.Service)
		c.Sources[name] = s
	}
	c.completePolicies()
	for name, h := range c.Handlers {
		h.complete(name, func(key string) bool { return c.origin.has(join(join("handlers", name), key)) })
		if at := join(join("handlers", name), "health"); h.Health != nil && !c.origin.has(join(at, "timeout")) {
			h.Health.Timeout = min(h.Health.Timeout, h.Health.Interval)
		}
		c.Handlers[name] = h
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		orDefault(&r.Name, item("routes", i))
		if r.Handler != "" && !c.origin.has(item("routes", i)+".handlers") {
			r.Handlers, r.Handler = []string{r.Handler}, ""
		}
	}
}

func orDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// completeNATS leaves either the embedded server or what is for an external one.
func (c *Config) completeNATS() {
	n := &c.NATS
	if n.External() {
		n.Embedded = nil
		return
	}
	if n.Embedded == nil {
		e := embedded()
		n.Embedded = &e
	}
	*n = NATS{Embedded: n.Embedded, Streams: n.Streams}
}

func (c *Config) completePolicies() {
	for name, p := range c.Retry {
		c.Retry[name] = p.complete(func(key string) bool { return c.origin.has(join(join("retry", name), key)) })
	}
	if c.Retry == nil {
		c.Retry = make(map[string]Policy)
	}
	if _, ok := c.Retry[DefaultPolicy]; !ok {
		c.Retry[DefaultPolicy] = builtIn()
	}
}

// complete returns the policy without the defaults that do not apply to its
// kind of backoff.
func (p Policy) complete(has func(key string) bool) Policy {
	drop := func(key string, field any) {
		if !has(key) {
			reflect.ValueOf(field).Elem().SetZero()
		}
	}
	switch {
	case has("schedule"):
		drop("backoff", &p.Backoff)
		drop("initial", &p.Initial)
		drop("factor", &p.Factor)
		drop("max", &p.Max)
		drop("max_elapsed", &p.MaxElapsed)
		if !has("max_attempts") {
			p.MaxAttempts = len(p.Schedule) + 1
		}
	case p.Backoff == "linear":
		drop("factor", &p.Factor)
	case p.Backoff == "constant":
		drop("factor", &p.Factor)
		drop("max", &p.Max)
	}
	return p
}

// complete fills in the names, and takes out the defaults that do not apply to
// its kind.
func (h *Handler) complete(name string, has func(key string) bool) {
	orDefault(&h.Service, name)
	h.completeBatch(has)
	if h.Async {
		h.AsyncTimeout = cmp.Or(h.AsyncTimeout, asyncTimeout)
		h.AsyncMax = cmp.Or(h.AsyncMax, asyncMax)
	}
	switch h.Kind() {
	case KindUnix:
		orDefault(&h.Path, "/")
	case KindTopic:
		orDefault(&h.TargetService, h.Service)
		if !has("concurrency") {
			h.Concurrency = topicConcurrency
		}
		h.clearRetryOn()
	case KindPoll:
		h.clearRetryOn()
		h.Timeout, h.Concurrency, h.Format = 0, 0, ""
	case KindLog:
		h.clearRetryOn()
		if h.Format == handler().Format {
			h.Format = ""
		}
	}
}

func (h *Handler) completeBatch(has func(key string) bool) {
	if h.Batch == nil {
		return
	}
	if !has("concurrency") {
		h.Concurrency = batchConcurrency
	}
	if !has("format") {
		h.Format = "structured"
	}
}

func (h *Handler) clearRetryOn() {
	if slices.Equal(h.RetryOn, handler().RetryOn) {
		h.RetryOn = nil
	}
}
