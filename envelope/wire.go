package envelope

import "strings"

const hexDigits = "0123456789ABCDEF"

// encodeValue writes the value of an attribute as the HTTP binding of
// CloudEvents wants it: spaces, quotes, percent signs and whatever is not
// printable ASCII percent-encoded.
func encodeValue(s string) string {
	n := 0
	for i := range len(s) {
		if mustEscape(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*n)
	for i := range len(s) {
		if mustEscape(s[i]) {
			b.WriteByte('%')
			b.WriteByte(hexDigits[s[i]>>4])
			b.WriteByte(hexDigits[s[i]&15])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func mustEscape(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// AttributeValue writes the value of a CloudEvents attribute as headers carry it.
func AttributeValue(s string) string { return encodeValue(s) }

// safe returns a value that must not be missing so that it is valid in a
// header: as it is when it can be, percent-encoded otherwise.
func safe(s string) string {
	if validValue(s) {
		return s
	}
	return encodeValue(s)
}

// validName reports whether a header may have this name: a token of HTTP.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// validValue reports whether a header may have this value, as net/http and
// NATS see it. Spaces at its ends would be lost on the way.
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return strings.Trim(s, " \t") == s
}

// validAttribute reports whether this is a name for an attribute of CloudEvents.
func validAttribute(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
