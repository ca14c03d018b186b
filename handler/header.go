package handler

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// fixedHeaders checks the headers that are configured for a handler and puts
// their names into canonical form. Those in reserved are the handler's own.
func fixedHeaders(list map[string]string, reserved ...string) (http.Header, error) {
	fixed := make(http.Header, len(list))
	for name, value := range list {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case name == "" || strings.ContainsFunc(name, notInToken):
			return nil, fmt.Errorf("headers: %q is no name for a header", name)
		case strings.ContainsFunc(value, notInValue):
			return nil, fmt.Errorf("headers: the value of %s holds a control character", name) // it may be a secret
		case slices.Contains(reserved, canonical):
			return nil, fmt.Errorf("headers: %s cannot be set", name)
		case fixed[canonical] != nil:
			return nil, fmt.Errorf("headers: %s is there twice", canonical)
		}
		fixed[canonical] = []string{strings.TrimSpace(value)}
	}
	return fixed, nil
}

func notInToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func notInValue(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
