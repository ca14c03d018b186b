package envelope

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// replacement stands for bytes that are not valid UTF-8.
const replacement = "\uFFFD"

// maxQuote is how many bytes of a foreign value an error repeats.
const maxQuote = 64

// checkName holds a name that identifies something against what the store and
// the headers of all handlers can carry.
func checkName(what, value string) error {
	switch {
	case strings.TrimSpace(value) == "":
		return fmt.Errorf("%s is empty", what)
	case len(value) > MaxName:
		return fmt.Errorf("%s has %d bytes, more than %d: %s", what, len(value), MaxName, quote(value))
	case !utf8.ValidString(value):
		return fmt.Errorf("%s is not valid UTF-8: %s", what, quote(value))
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s holds a control character: %s", what, quote(value))
	}
	return nil
}

// checkOptional is [checkName] for what may be missing.
func checkOptional(what, value string) error {
	if value == "" {
		return nil
	}
	return checkName(what, value)
}

// quote returns the beginning of a foreign value, safe to be shown.
func quote(s string) string {
	if len(s) <= maxQuote {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:maxQuote], ""))
}
