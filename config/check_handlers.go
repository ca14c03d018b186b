package config

import (
	"slices"
	"strings"
)

var kinds = []string{KindHTTP, KindUnix, KindNATS, KindTopic, KindPoll, KindLog}

// only lists the keys that some kinds of handlers have no use for, with those
// that have.
var only = []struct {
	key   string
	kinds []string
}{
	{"path", []string{KindUnix}},
	{"target_service", []string{KindTopic}},
	{"response_within", []string{KindTopic}},
	{"format", []string{KindHTTP, KindUnix, KindNATS, KindTopic}},
	{"headers", []string{KindHTTP, KindUnix, KindNATS, KindTopic}},
	{"retry_on", []string{KindHTTP, KindUnix, KindNATS}},
	{"health", []string{KindHTTP, KindUnix}},
	{"sign", []string{KindHTTP, KindUnix, KindNATS, KindTopic}},
	{"tls", []string{KindHTTP}},
	{"breaker", []string{KindHTTP, KindUnix, KindNATS, KindTopic}},
	{"timeout", []string{KindHTTP, KindUnix, KindNATS, KindTopic, KindLog}},
	{"concurrency", []string{KindHTTP, KindUnix, KindNATS, KindTopic, KindLog}},
	{"batch", []string{KindHTTP, KindUnix}},
	{"async", []string{KindHTTP, KindUnix}},
	{"async_timeout", []string{KindHTTP, KindUnix}},
	{"async_max", []string{KindHTTP, KindUnix}},
}

func (c *Config) checkHandler(path string, h *Handler) {
	o := c.origin
	var given []string
	for _, kind := range kinds {
		if o.has(join(path, kind)) {
			given = append(given, kind)
		}
	}
	switch {
	case len(given) == 1:
		c.checkKeysOf(path, given[0])
	case len(given) > 1:
		o.addf(join(path, given[1]), "%s is given as well; a handler is one of %s", given[0], or(kinds))
	case !o.broken[path]:
		o.addf(path, "does not say where events go; give one of %s", or(kinds))
	}
	c.checkHeaders(join(path, "headers"), h.Headers)
	c.checkHandlerTLS(path, h)
	if _, ok := c.Retry[h.Retry]; !ok && o.clean(join(path, "retry")) {
		o.addf(join(path, "retry"), "no retry policy is named %s%s", o.quote(join(path, "retry"), h.Retry),
			orElse(h.Retry, Names(c.Retry)))
	}
	c.checkTwice(join(path, "retry_on"), h.RetryOn)
	c.checkBatch(path, h)
	c.checkAsync(path, h)
	c.checkHealth(join(path, "health"), h.Health)
}

// checkHealth finds a probe that would outlast the time until the next one.
func (c *Config) checkHealth(path string, h *Health) {
	if h == nil || !c.origin.clean(path) || h.Timeout <= h.Interval {
		return
	}
	c.origin.addf(join(path, "timeout"), "%s is longer than interval, %s", formatDuration(h.Timeout), formatDuration(h.Interval))
}

func (c *Config) checkKeysOf(path, kind string) {
	for _, k := range only {
		if !slices.Contains(k.kinds, kind) {
			c.forbid(join(path, k.key), "has no meaning for a handler of the kind "+kind+"; it is for "+or(k.kinds))
		}
	}
}

// checkHandlerTLS finds keys that do not go with the URL or with each other.
// Where a variable decides the URL, the file may have what is for another one.
func (c *Config) checkHandlerTLS(path string, h *Handler) {
	url, at := join(path, "http"), join(path, "tls")
	if strings.HasPrefix(h.HTTP, "http://") && !c.origin.varied[url] {
		c.forbid(at, "is for an https URL, but the URL begins with http://")
	}
	c.origin.together(at, "cert_file", "key_file")
}

// ownHeaders are set by eventd or by the connection.
var ownHeaders = []string{
	"ce-", "eventd-", "webhook-", "nats-", "content-length", "content-type", "connection", "host", "keep-alive",
	"proxy-connection", "te", "trailer", "traceparent", "tracestate", "transfer-encoding", "upgrade",
}

func (c *Config) checkHeaders(path string, headers map[string]string) {
	before := make(map[string]string)
	for _, name := range Names(headers) {
		at, lower := join(path, name), strings.ToLower(name)
		switch {
		case before[lower] != "":
			c.origin.addf(at, "is the header %s again: case makes no difference", before[lower])
		case slices.ContainsFunc(ownHeaders, func(own string) bool { return isHeader(lower, own) }):
			c.origin.addf(at, "eventd sets this header itself")
		case strings.HasSuffix(lower, "idempotency-key"):
			c.origin.addf(at, "one key for every event makes no sense; receivers can use webhook-id, which each event has")
		case strings.ContainsFunc(headers[name], func(r rune) bool { return isControl(r) && r != '\t' }):
			c.origin.addf(at, "has a line break or another control character in its value; a header must be one line")
		case strings.TrimSpace(headers[name]) != headers[name]:
			c.origin.addf(at, "has spaces around its value")
		}
		before[lower] = name
	}
}

// isHeader reports whether a header is the one that is meant, or has the prefix.
func isHeader(lower, own string) bool {
	return lower == own || strings.HasSuffix(own, "-") && strings.HasPrefix(lower, own)
}

// checkTwice notes what a list has twice.
func (c *Config) checkTwice(path string, list []string) {
	for i, s := range list {
		if s != "" && slices.Contains(list[:i], s) {
			c.origin.addf(item(path, i), "%s is in the list already", c.origin.quote(item(path, i), s))
		}
	}
}
