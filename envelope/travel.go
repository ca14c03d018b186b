package envelope

import "strings"

// travels reports whether a header, its name in lower case, belongs to the
// event and goes along with it from where it came to where it goes. Those that
// describe the message on the wire, those that eventd writes itself, and those
// that let someone in do not.
func travels(lower string) bool {
	return !stays[lower] && !hasPrefix(lower, "ce-", "nats-", "eventd-", "webhook-", "proxy-")
}

// stays lists headers that end where the message ends.
var stays = map[string]bool{
	"content-type": true, "content-length": true, "correlation-id": true, "causation-id": true,
	"connection": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true,
	"upgrade": true, "expect": true, "host": true,
	"authorization": true, "cookie": true, "set-cookie": true, "www-authenticate": true,
}

// ofExchange reports whether an HTTP header, its name in lower case, is about
// the exchange that carried the event and not about the event.
func ofExchange(lower string) bool {
	return exchange[lower] || hasPrefix(lower, "accept-", "access-control-", "cross-origin-", "if-", "sec-", "x-forwarded-")
}

// exchange lists HTTP headers of requests and responses.
var exchange = map[string]bool{
	"accept": true, "age": true, "allow": true, "alt-svc": true, "cache-control": true, "content-security-policy": true,
	"date": true, "dnt": true, "etag": true, "expires": true, "forwarded": true, "from": true, "last-modified": true,
	"location": true, "max-forwards": true, "origin": true, "pragma": true, "priority": true, "range": true,
	"referer": true, "referrer-policy": true, "retry-after": true, "server": true, "strict-transport-security": true,
	"user-agent": true, "vary": true, "via": true, "warning": true, "x-api-key": true, "x-auth-token": true,
	"x-content-type-options": true, "x-csrf-token": true, "x-frame-options": true, "x-powered-by": true,
	"x-real-ip": true, "x-requested-with": true,
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
