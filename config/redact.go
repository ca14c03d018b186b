package config

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// redacted stands wherever a secret would.
const redacted = "<redacted>"

// minHidden is the length from which a secret is hidden in any text it occurs
// in. Shorter ones would tear holes into unrelated words: they are hidden where
// they stand in the file.
const minHidden = 4

var secretWords = []string{
	"auth", "cookie", "credential", "key", "passphrase", "passwd", "password", "private", "secret", "signature", "token",
}

// secretName reports whether what has this name is a secret: the header
// Authorization, the variable DB_PASSWORD.
func secretName(name string) bool {
	lower := strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(lower, w) })
}

// remember notes what of the text at path is secret: what came from files,
// what stands under a telling header name, and credentials in URLs.
func (o *origin) remember(path string, t text) {
	if secretHeader(path) && t.value != "" {
		t.shown = redacted
		t.secrets = append(t.secrets, t.value)
		if _, credentials, ok := strings.Cut(t.value, " "); ok { // Bearer …
			t.secrets = append(t.secrets, credentials)
		}
	}
	o.keepSecret(append(t.secrets, urlSecrets(t.value)...)...)
	if shown := hideURL(t.shown); shown != t.value {
		o.shown[path] = shown
	}
}

// keepSecret notes texts that hide replaces.
func (o *origin) keepSecret(secrets ...string) {
	if len(secrets) == 0 {
		return
	}
	o.secrets = append(o.secrets, secrets...)
	// Longest first, lest a secret that is part of another leave the rest of it.
	slices.SortFunc(o.secrets, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	o.secrets = slices.Compact(o.secrets)
}

// secretHeader reports whether path is a header with a telling name.
func secretHeader(path string) bool {
	_, name, ok := strings.Cut(path, ".headers.")
	return ok && secretName(name)
}

// hide replaces the secrets in any text.
func (o *origin) hide(s string) string {
	for _, secret := range o.secrets {
		if len(secret) >= minHidden || secret != "" && secret == s {
			s = strings.ReplaceAll(s, secret, redacted)
		}
	}
	return s
}

// show returns the value at path without its secrets.
func (o *origin) show(path, value string) string {
	if s, ok := o.shown[path]; ok {
		value = s
	}
	return o.hide(value)
}

// quote returns the value at path for a problem.
func (o *origin) quote(path, value string) string {
	return strconv.Quote(shorten(o.show(path, value)))
}

// Redact returns s with every secret of the configuration replaced by
// <redacted>: for texts that may repeat a URL or a header of it.
func (c *Config) Redact(s string) string { return c.origin.hide(hideURL(s)) }

var (
	userInfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s,/?#]*)@`)
	wildInfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s,]*)@`)
	secretQuery = regexp.MustCompile(`(?i)([?&][^=&\s]*(?:` + strings.Join(secretWords, "|") + `)[^=&\s]*=)([^&\s#]+)`)
)

// credentialsIn returns the expression that finds the credentials in s. Where
// they have characters that should have been escaped, more is taken than needed.
func credentialsIn(s string) *regexp.Regexp {
	for _, one := range strings.Split(s, ",") {
		if _, err := url.Parse(strings.TrimSpace(one)); err != nil {
			return wildInfo
		}
	}
	return userInfo
}

func hideURL(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	s = credentialsIn(s).ReplaceAllString(s, "${1}"+redacted+"@")
	return secretQuery.ReplaceAllString(s, "${1}"+redacted)
}

// urlSecrets returns the credentials in s.
func urlSecrets(s string) []string {
	if !strings.Contains(s, "://") {
		return nil
	}
	var secrets []string
	for _, m := range credentialsIn(s).FindAllStringSubmatch(s, -1) {
		secrets = append(secrets, m[2])
		if _, password, ok := strings.Cut(m[2], ":"); ok {
			secrets = append(secrets, password)
		}
	}
	for _, m := range secretQuery.FindAllStringSubmatch(s, -1) {
		secrets = append(secrets, m[2])
	}
	return secrets
}
