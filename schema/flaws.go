package schema

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// MaxDetail is how many bytes [Schema.Check] returns at most.
const MaxDetail = 900

const (
	maxFlaws = 10  // told one by one
	maxFlaw  = 200 // bytes of one, half of them for its path
)

// tell returns the flaws of a payload with their paths, as JSON pointers, in the
// order of the paths.
func tell(e *jsonschema.ValidationError) string {
	flaws := leaves(nil, e)
	slices.SortStableFunc(flaws, func(a, b *jsonschema.ValidationError) int {
		return slices.Compare(a.InstanceLocation, b.InstanceLocation)
	})
	var text strings.Builder
	told := make(map[string]bool)
	for i, flaw := range flaws {
		line := describe(flaw)
		if told[line] { // by another branch of the schema
			continue
		}
		if more := fmt.Sprintf("; and %d more", len(flaws)-i); len(told) == maxFlaws || text.Len()+len(line)+len(more) > MaxDetail {
			text.WriteString(more)
			break
		}
		if told[line] = true; text.Len() > 0 {
			text.WriteString("; ")
		}
		text.WriteString(line)
	}
	return text.String()
}

// leaves adds the flaws that have none below them: the others only say where in
// the schema those come from.
func leaves(list []*jsonschema.ValidationError, e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	for _, cause := range e.Causes {
		list = leaves(list, cause)
	}
	if len(e.Causes) == 0 {
		list = append(list, e)
	}
	return list
}

func describe(flaw *jsonschema.ValidationError) string {
	return shorten(pointer(flaw.InstanceLocation), maxFlaw/2) + ": " + shorten(flaw.BasicOutput().Error.String(), maxFlaw/2)
}

var escaping = strings.NewReplacer("~", "~0", "/", "~1")

// pointer returns a path as a JSON pointer; that of the whole payload would be
// empty, and stands as a word.
func pointer(path []string) string {
	if len(path) == 0 {
		return "payload"
	}
	var b strings.Builder
	for _, token := range path {
		b.WriteByte('/')
		b.WriteString(escaping.Replace(token))
		if b.Len() > maxFlaw {
			break
		}
	}
	return b.String()
}

// clip bounds a text to one line of MaxDetail bytes.
func clip(s string) string { return shorten(s, MaxDetail) }

// shorten returns the beginning of a text of foreign origin, in at most n bytes
// on one line.
func shorten(s string, n int) string {
	const dots = "…"
	cut := len(s) > n
	if cut {
		s = s[:n-len(dots)]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if cut {
		s += dots
	}
	return s
}
