package config

import (
	"regexp"
	"slices"
	"strings"
)

var subjectPattern = regexp.MustCompile(`^[^\s.]+(\.[^\s.]+)*$`)

var (
	// reserved are the subjects that NATS keeps for itself, and public those of
	// them that a stream may capture all the same.
	reserved = []string{"$JS.>", "$JSC.>", "$NRG.>", "$SYS.>"}
	public   = []string{"$JS.EVENT.>", "$SYS.ACCOUNT.>"}
)

// subjectProblem checks a subject that may have wildcards.
func subjectProblem(s string) string {
	tokens := strings.Split(s, ".")
	switch {
	case slices.Contains(tokens, ""):
		return " is not a NATS subject: there is nothing before, after or between its dots"
	case strings.ContainsAny(s, " \t\r\n\f") || strings.ContainsFunc(s, isControl):
		return " is not a NATS subject: it must not have spaces"
	case slices.Contains(tokens[:len(tokens)-1], ">"):
		return " is not a NATS subject: > can only be its last token"
	case len(s) > 255:
		return " is longer than 255 bytes"
	default:
		return ""
	}
}

// captureProblem checks a subject of a stream. One that took in a reserved
// subject would answer the requests of JetStream itself, and the server refuses it.
func captureProblem(s string) string {
	if p := subjectProblem(s); p != "" {
		return p
	}
	isPublic := slices.ContainsFunc(public, func(p string) bool { return covers(p, s) })
	if !isPublic && slices.ContainsFunc(reserved, func(r string) bool { return overlap(r, s) }) {
		return " takes in subjects that NATS keeps for itself, such as $JS.API"
	}
	return ""
}

// literalProblem checks a subject to publish on.
func literalProblem(s string) string {
	for _, token := range strings.Split(s, ".") {
		if token == "*" || token == ">" {
			return " has the wildcard " + token + "; expected one subject to publish on"
		}
	}
	return captureProblem(s)
}

// covers reports whether every subject that narrow matches is matched by wide.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		switch {
		case i == len(n):
			return false
		case token == ">":
			return true
		case n[i] == ">" || token != "*" && token != n[i]:
			return false
		}
	}
	return len(w) == len(n)
}

// overlap reports whether some subject is matched by both.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; ; i++ {
		switch {
		case i == len(x) || i == len(y):
			return len(x) == len(y)
		case x[i] == ">" || y[i] == ">":
			return true
		case x[i] != "*" && y[i] != "*" && x[i] != y[i]:
			return false
		}
	}
}

// globCovers reports whether every message type that narrow matches is matched
// by wide. In both, * stands for any run of characters.
func globCovers(wide, narrow string) bool {
	// A * of narrow could be any text, so only a * of wide can take it.
	w, n, star, retry := 0, 0, -1, 0
	for n < len(narrow) {
		switch {
		case w < len(wide) && wide[w] == '*':
			star, retry = w, n
			w++
		case w < len(wide) && wide[w] == narrow[n]:
			w, n = w+1, n+1
		case star >= 0:
			retry++
			w, n = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(wide[w:], "*") == ""
}
