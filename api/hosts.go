package api

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// hosts are the names under which the API may be called. A page that makes a
// name of its own point to this machine (DNS rebinding) comes with that name
// and is refused.
type hosts struct {
	names map[string]bool
	// anyIP: it listens on every address, so every address may be the one. An
	// address, unlike a name, cannot be made to point elsewhere.
	anyIP bool
}

func newHosts(listen string, extra []string) hosts {
	h := hosts{names: map[string]bool{"localhost": true}}
	name := hostname(listen)
	ip, err := netip.ParseAddr(name)
	h.anyIP = name == "" || err == nil && ip.IsUnspecified()
	for _, n := range append(extra, name) {
		if n = hostname(n); n != "" {
			h.names[n] = true
		}
	}
	return h
}

func (h hosts) check(host string) *problem {
	name := hostname(host)
	if h.names[name] {
		return nil
	}
	if ip, err := netip.ParseAddr(name); err == nil && (h.anyIP || ip.IsLoopback()) {
		return nil
	}
	return newProblem(http.StatusForbidden, "this is not served under the name %q", host)
}

// hostname returns the name in host or host:port, as it is compared: lower
// case, without brackets and without the dot at the end.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
