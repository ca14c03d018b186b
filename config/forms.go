package config

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// form is what a text must look like. Its pattern stands in the schema too;
// check finds what a pattern cannot say. Both may be left out.
type form struct {
	pattern *regexp.Regexp
	what    string // follows the value: is not …
	check   func(string) string
}

// problem returns what is wrong with text, to be read after it; "" for nothing.
func (f form) problem(text string) string {
	if f.check != nil {
		if p := f.check(text); p != "" {
			return p
		}
	}
	if f.pattern != nil && !f.pattern.MatchString(text) {
		return " is not " + f.what
	}
	return ""
}

// forms are the values of the tags form and keys.
var forms = map[string]form{
	"name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$`),
		what:    "a name: up to 64 letters, digits, - and _",
	},
	"route": { // a name, or the place that stands for one
		pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.\[\]-]{0,63}$`),
		what:    "the name of a route: up to 64 letters, digits and . - _ [ ]",
	},
	"service": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}$`),
		what:    "the name of a service: up to 128 letters, digits and . : / - _",
	},
	"stream": {
		pattern: regexp.MustCompile(`^[!-)+\-0-=?-\[\]-~]{1,255}$`),
		what:    `the name of a stream: no space, dot, *, >, / or \`,
	},
	"type": {
		pattern: regexp.MustCompile(`^[^\s*?\[\]{}\\]{1,255}$`),
		what:    `a message type: no space, *, ?, \, [ ] or { }`,
	},
	"glob": {
		pattern: regexp.MustCompile(`^[^\s?\[\]{}\\]{1,255}$`),
		what:    `a message type: no space, ?, \, [ ] or { }; * stands for any characters`,
	},
	"code": {
		pattern: regexp.MustCompile(`^([345]xx|[345][0-9][0-9])$`),
		what:    "an HTTP code from 300 to 599, nor 3xx, 4xx or 5xx",
	},
	"rate": {
		pattern: regexp.MustCompile(`^[1-9][0-9]{0,6}/[smh]$`),
		what:    "a rate such as 500/s, 90/m or 10/h",
	},
	"media": {
		pattern: regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,127}/[A-Za-z0-9!#$%&'*+.^_`|~-]{1,127}( *;[ -~]*)?$"),
		what:    "a content type such as application/json",
	},
	"header": {
		pattern: regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"),
		what:    "the name of a header",
	},
	"host": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$`),
		what:    "the name of a host or its address",
	},
	"path": {
		pattern: regexp.MustCompile(`^/[!-"$-~]*$`),
		what:    "the path of a URL: it begins with / and has no space and no #",
	},
	"subject": {pattern: subjectPattern, what: "a NATS subject", check: subjectProblem},
	"capture": {pattern: subjectPattern, what: "a NATS subject", check: captureProblem},
	"literal": {pattern: subjectPattern, what: "a NATS subject", check: literalProblem},
	"httpurl": {check: httpURLProblem},
	"natsurl": {check: natsURLProblem},
	"listen":  {check: listenProblem},
	"socket":  {check: socketProblem},
}

func httpURLProblem(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || strings.ContainsFunc(text, isControl):
		return " is not a URL such as http://127.0.0.1:8080/events"
	case u.Scheme != "http" && u.Scheme != "https":
		return " has the scheme " + u.Scheme + "; expected http or https"
	case u.User != nil:
		return " has credentials in it; give them in headers: {Authorization: …}"
	case u.Fragment != "":
		return " has a fragment (#), which is never sent"
	default:
		return hostProblem(u)
	}
}

func hostProblem(u *url.URL) string {
	if u.Hostname() == "" {
		return " names no host"
	}
	if u.Port() != "" && !validPort(u.Port(), 1) {
		return " has the port " + u.Port() + "; expected 1 to 65535"
	}
	return ""
}

func natsURLProblem(text string) string {
	for _, one := range strings.Split(text, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Host == "":
			return " is not a URL such as nats://127.0.0.1:4222"
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return " has the scheme " + u.Scheme + "; expected nats, tls, ws or wss"
		}
		if p := hostProblem(u); p != "" {
			return p
		}
	}
	return ""
}

func listenProblem(text string) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil || !validPort(port, 0) || strings.ContainsAny(host, " /@") {
		return " is not an address to listen on, such as 127.0.0.1:9180 or :9180"
	}
	return ""
}

func validPort(port string, least int) bool {
	n, err := strconv.Atoi(port)
	return err == nil && n >= least && n <= 65535
}

// loopback reports whether an address to listen on is reachable from this
// machine only.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// maxSocket is how many bytes the kernel takes for the path of a unix socket.
const maxSocket = 107

func socketProblem(text string) string {
	switch {
	case strings.Contains(text, "://"):
		return " is a URL; expected the path of a unix socket such as /run/app.sock"
	case strings.ContainsFunc(text, isControl):
		return " has characters that a path cannot have"
	case len(text) > maxSocket:
		return " is longer than a unix socket's path can be (" + itoa(maxSocket) + " bytes)"
	default:
		return ""
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
