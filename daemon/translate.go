package daemon

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
	"github.com/eventd-io/eventd/handler"
	"github.com/eventd-io/eventd/queue"
	"github.com/eventd-io/eventd/retry"
	"github.com/eventd-io/eventd/router"
	"github.com/rs/zerolog"
)

// checkExpressions finds the CEL expressions of routes that do not compile.
func checkExpressions(c *config.Config) (issues []config.Issue) {
	for i, r := range c.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		if r.When != "" {
			if err := router.CheckWhen(r.When); err != nil {
				issues = append(issues, c.Issue(path+".when", err))
			}
		}
		if r.OrderBy != "" {
			if err := router.CheckOrderBy(r.OrderBy); err != nil {
				issues = append(issues, c.Issue(path+".order_by", err))
			}
		}
		for _, name := range config.Names(r.Remember) {
			if err := router.CheckRemember(r.Remember[name]); err != nil {
				issues = append(issues, c.Issue(path+".remember."+name, err))
			}
		}
	}
	return issues
}

// translateRouter returns the router's part of a configuration. The deliverers
// are new and unused; [closeDeliverers] lets go of them.
func translateRouter(c *config.Config, p nats, log zerolog.Logger) (router.Config, error) {
	out, from := router.Config{DeadLetter: c.DeadLetter}, make(schemas)
	var err error
	if out.Schemas, err = from.ofSources(c); err != nil {
		return out, err
	}
	if out.Decoders, err = decoders(c); err != nil {
		return out, err
	}
	for _, r := range c.Routes {
		route := router.Route{
			Name: r.Name, MessageTypes: r.MessageType, When: r.When,
			Handlers: r.Handlers, Continue: r.Continue, Remember: r.Remember, Expires: r.Expires,
			OrderBy: r.OrderBy,
		}
		var err error
		if route.OnFailure, err = event.ParseOnFailure(r.OnFailure); err != nil {
			return out, fmt.Errorf("route %s: %w", r.Name, err)
		}
		if r.Table != "" {
			if route.Table, err = event.ParseTable(r.Table); err != nil {
				return out, fmt.Errorf("route %s: %w", r.Name, err)
			}
		}
		if err := from.addTo(&route, r.Schema); err != nil {
			return out, err
		}
		out.Routes = append(out.Routes, route)
	}
	for _, name := range config.Names(c.Handlers) {
		h := c.Handlers[name]
		if h.Kind() == config.KindPoll {
			out.Handlers = append(out.Handlers, polled(c, name, &h))
			continue
		}
		d, err := deliverer(c, name, &h, p, log)
		if err != nil {
			closeDeliverers(out)
			return out, fmt.Errorf("handler %s: %w", name, err)
		}
		translated := routerHandler(c, name, &h, d)
		if translated.Health, err = health(h.Health, d); err != nil {
			closeDeliverers(out)
			return out, fmt.Errorf("handler %s: %w", name, err)
		}
		out.Handlers = append(out.Handlers, translated)
	}
	return out, nil
}

func routerHandler(c *config.Config, name string, h *config.Handler, d endpoint) router.Handler {
	out := router.Handler{
		Name: name, Service: h.Service, Kind: h.Kind(), Target: d.Target(),
		Concurrency: h.Concurrency, Policy: policy(c.Retry[h.Retry]), Deliverer: d,
		Rate: perSecond(h.RateLimit), Breaker: breaker(h.Breaker), ResponseWithin: h.ResponseWithin,
		AsyncTimeout: h.AsyncTimeout, AsyncMost: h.AsyncMax,
	}
	if h.Batch != nil { // requests are made of the events in slots
		out.Concurrency *= h.Batch.Max
		out.Bytes = h.Concurrency * handler.MaxBatch
	}
	return out
}

// perSecond reads a rate such as 500/s, which is checked already; "" is 0.
func perSecond(text string) float64 {
	number, unit, _ := strings.Cut(text, "/")
	n, _ := strconv.ParseFloat(number, 64)
	return n / map[string]float64{"s": 1, "m": 60, "h": 3600, "": 1}[unit]
}

func breaker(b *config.Breaker) *router.Breaker {
	if b == nil {
		return nil
	}
	return &router.Breaker{Failures: b.Failures, Open: b.Open}
}

// health returns the probes of a handler, nil when it has none.
func health(c *config.Health, d endpoint) (*router.Health, error) {
	target, ok := d.(interface {
		Health(path string, timeout time.Duration) (*handler.Health, error)
	})
	if c == nil || !ok {
		return nil, nil
	}
	prober, err := target.Health(c.Path, c.Timeout)
	if err != nil {
		return nil, err
	}
	return &router.Health{Prober: prober, Interval: c.Interval, Failures: c.Failures}, nil
}

func polled(c *config.Config, name string, h *config.Handler) router.Handler {
	return router.Handler{
		Name: name, Service: h.Service, Kind: h.Kind(), Policy: policy(c.Retry[h.Retry]), Lease: h.Poll.Lease,
		Rate: perSecond(h.RateLimit),
	}
}

// nats is what handlers need of the connection.
type nats interface {
	handler.Publisher
	handler.Requester
}

// dedupeWindow tells the store's default apart from a window of no length.
func dedupeWindow(c *config.Config) time.Duration {
	if c.Store.DedupeWindow == 0 {
		return -1
	}
	return c.Store.DedupeWindow
}

// endpoint is what every kind of handler is.
type endpoint interface {
	router.Deliverer
	Target() string
}

func deliverer(c *config.Config, name string, h *config.Handler, p nats, log zerolog.Logger) (endpoint, error) {
	sign, err := signer(h.Sign)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	switch h.Kind() {
	case config.KindHTTP, config.KindUnix:
		o := handler.HTTPOptions{
			URL: h.HTTP, Socket: h.Unix, Path: h.Path, Timeout: h.Timeout,
			Format: format(h.Format), Headers: h.Headers, RetryOn: h.RetryOn, Source: ceSource(c), Async: h.AsyncTimeout,
			TLS: handlerTLS(h.TLS), Signer: sign,
		}
		if h.Batch != nil {
			return handler.NewBatch(handler.BatchOptions{
				HTTPOptions: o, Max: h.Batch.Max, Wait: h.Batch.Wait, Requests: h.Concurrency,
			})
		}
		return handler.NewHTTP(o)
	case config.KindNATS:
		return handler.NewNATS(handler.NATSOptions{
			Subject: h.NATS, Timeout: h.Timeout, Format: format(h.Format), Headers: h.Headers,
			RetryOn: h.RetryOn, Source: ceSource(c), Signer: sign,
		}, p)
	case config.KindTopic:
		return handler.NewTopic(handler.TopicOptions{
			Subject: h.Topic, SourceService: h.Service, TargetService: h.TargetService, Timeout: h.Timeout,
			Format: format(h.Format), Headers: h.Headers, Source: ceSource(c), Signer: sign,
		}, p)
	default:
		return handler.NewLog(name, log), nil
	}
}

// ceSource is the `source` attribute of events that did not come as CloudEvents.
func ceSource(c *config.Config) string { return "/eventd/" + c.Service }

func format(name string) envelope.Format {
	switch name {
	case "structured":
		return envelope.Structured
	case "raw":
		return envelope.Raw
	default:
		return envelope.Binary
	}
}

func policy(p config.Policy) retry.Policy {
	return retry.Policy{
		Backoff: retry.Backoff(p.Backoff), Initial: p.Initial, Factor: p.Factor, Max: p.Max, Jitter: p.Jitter,
		MaxAttempts: p.MaxAttempts, MaxElapsed: p.MaxElapsed, Schedule: p.Schedule,
	}
}

// closeDeliverers lets go of connections that deliverers keep.
func closeDeliverers(c router.Config) {
	for i := range c.Handlers {
		if d, ok := c.Handlers[i].Deliverer.(interface{ Close() }); ok {
			d.Close()
		}
	}
}

func translateQueue(c *config.Config, log zerolog.Logger) queue.Options {
	n := &c.NATS
	o := queue.Options{
		Name: "eventd-" + c.Service, URL: n.URL, CredentialsFile: n.CredentialsFile,
		User: n.User, PasswordFile: n.PasswordFile, NKeyFile: n.NKeyFile, TokenFile: n.TokenFile,
		Context: n.Context, Streams: translateStreams(c), Log: log,
	}
	if n.TLS != nil {
		o.TLS = &queue.TLSFiles{CA: n.TLS.CAFile, Cert: n.TLS.CertFile, Key: n.TLS.KeyFile}
	}
	if !n.External() && n.Embedded != nil {
		o.Embedded = &queue.Embedded{
			Dir: c.DataDir, Listen: n.Embedded.Listen, SyncInterval: n.Embedded.Sync,
		}
	}
	return o
}

func translateStreams(c *config.Config) (list []queue.Stream) {
	for _, name := range config.Names(c.NATS.EffectiveStreams) {
		s := c.NATS.EffectiveStreams[name]
		list = append(list, queue.Stream{Name: name, Subjects: s.Subjects, MaxAge: s.MaxAge, Replicas: s.Replicas})
	}
	return list
}

func translateSource(c *config.Config, name string, s config.Source) (queue.SourceOptions, error) {
	table, err := event.ParseTable(s.Table)
	if err != nil {
		return queue.SourceOptions{}, fmt.Errorf("source %s: %w", name, err)
	}
	return queue.SourceOptions{
		Name: name, Service: c.Service, Stream: s.Stream, Subject: s.Subject, Table: table,
		SourceService: s.SourceService, TargetService: s.TargetService, MessageType: s.MessageType,
		MaxAckPending: s.MaxAckPending, AckWait: s.AckWait,
	}, nil
}

// decoders returns what decodes once more what a source brought. One that verifies
// has none: of what is kept nobody knows any more whether it was signed.
func decoders(c *config.Config) (map[string]router.Decoder, error) {
	list := make(map[string]router.Decoder)
	for name, s := range c.Sources {
		if s.Verify != nil {
			continue
		}
		o, err := translateSource(c, name, s)
		if err != nil {
			return nil, err
		}
		list[name] = func(e *event.Event, payload []byte) event.Message {
			origin := o.Origin()
			origin.At = time.Now().UTC()
			return envelope.DecodeAgain(e, payload, origin)
		}
	}
	return list, nil
}
