package config

import (
	"slices"
	"strings"
	"testing"
)

// combinations returns every sequence of 1 to n of the parts, joined by sep.
func combinations(parts []string, n int, sep string) []string {
	all := slices.Clone(parts)
	last := parts
	for range n - 1 {
		var next []string
		for _, head := range last {
			for _, p := range parts {
				next = append(next, head+sep+p)
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// matchesSubject is the plain meaning of a pattern, for one subject.
func matchesSubject(pattern, subject []string) bool {
	if len(pattern) == 0 || len(subject) == 0 {
		return len(pattern) == len(subject)
	}
	if pattern[0] == ">" {
		return true
	}
	return (pattern[0] == "*" || pattern[0] == subject[0]) && matchesSubject(pattern[1:], subject[1:])
}

// TestSubjectsAgainstTheirMeaning compares covers and overlap with the sets of
// subjects that patterns match.
func TestSubjectsAgainstTheirMeaning(t *testing.T) {
	// c occurs in no pattern: it stands for all other tokens.
	subjects := combinations([]string{"a", "b", "c"}, 4, ".")
	matched := make(map[string][]bool)
	for _, p := range combinations([]string{"a", "b", "*", ">"}, 3, ".") {
		if subjectProblem(p) != "" {
			continue
		}
		for _, s := range subjects {
			matched[p] = append(matched[p], matchesSubject(strings.Split(p, "."), strings.Split(s, ".")))
		}
	}
	if len(matched) < 50 {
		t.Fatalf("only %d patterns", len(matched))
	}
	for a, inA := range matched {
		for b, inB := range matched {
			wantCovers, wantOverlap := true, false
			for i := range subjects {
				wantCovers = wantCovers && (inA[i] || !inB[i])
				wantOverlap = wantOverlap || inA[i] && inB[i]
			}
			if got := covers(a, b); got != wantCovers {
				t.Errorf("covers(%q, %q) = %v", a, b, got)
			}
			if got := overlap(a, b); got != wantOverlap {
				t.Errorf("overlap(%q, %q) = %v", a, b, got)
			}
		}
	}
}

func matchesGlob(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		return matchesGlob(pattern[1:], text) || text != "" && matchesGlob(pattern, text[1:])
	}
	return text != "" && pattern[0] == text[0] && matchesGlob(pattern[1:], text[1:])
}

// TestGlobCoversAgainstItsMeaning compares globCovers with the sets of texts
// that patterns match.
func TestGlobCoversAgainstItsMeaning(t *testing.T) {
	texts := combinations([]string{"a", "b", "c"}, 6, "")
	patterns := combinations([]string{"a", "b", "*"}, 4, "")
	for _, wide := range patterns {
		for _, narrow := range patterns {
			want := true
			for _, s := range texts {
				if matchesGlob(narrow, s) && !matchesGlob(wide, s) {
					want = false
					break
				}
			}
			if got := globCovers(wide, narrow); got != want {
				t.Errorf("globCovers(%q, %q) = %v", wide, narrow, got)
			}
		}
	}
}

func TestStreamNames(t *testing.T) {
	for subject, want := range map[string]string{
		"REQUEST_TOPIC_A1":      "REQUEST_TOPIC_A1",
		"orders.*":              "orders_ANY",
		"orders.>":              "orders_ALL",
		"eventd.dead.SERVICE_A": "eventd_dead_SERVICE_A",
		"a/b\\c.ä*":             "a_b_c___",
	} {
		got := streamName(subject)
		if got != want {
			t.Errorf("streamName(%q) = %q; want %q", subject, got, want)
		}
		if p := forms["stream"].problem(got); p != "" {
			t.Errorf("%q%s", got, p)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"servce", "service", 1}, {"htpp", "http", 1},
		{"kitten", "sitting", 3}, {"same", "same", 0}, {"timeuot", "timeout", 1},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d; want %d", c.a, c.b, got, c.want)
		}
	}
}
