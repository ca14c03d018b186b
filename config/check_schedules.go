package config

import (
	"encoding/json"
	"mime"
	"slices"
	"strings"
)

// stayingHeaders are those that do not go along with an event.
var stayingHeaders = []string{
	"authorization", "causation-id", "cookie", "correlation-id", "expect", "proxy-", "set-cookie", "www-authenticate",
}

// checkSchedule finds what is wrong with a schedule; whether its cron and its
// time zone can be understood is for others to say.
func (c *Config) checkSchedule(path string, s *Schedule) {
	at := join(path, "payload")
	if isJSON(s.ContentType) && c.origin.clean(path) && !json.Valid([]byte(s.Payload)) {
		c.origin.addf(at, "is not JSON, which content_type %s asks for", c.origin.quote(join(path, "content_type"), s.ContentType))
	}
	at = join(path, "headers")
	c.checkHeaders(at, s.Headers)
	for _, name := range Names(s.Headers) {
		lower := strings.ToLower(name)
		if slices.ContainsFunc(stayingHeaders, func(own string) bool { return isHeader(lower, own) }) {
			c.origin.addf(join(at, name), "does not go along with an event; handlers have headers of their own")
		}
	}
}

// isJSON reports whether a content type is JSON or is built on it.
func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}
