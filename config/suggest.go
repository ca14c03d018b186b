package config

import (
	"strconv"
	"strings"
)

// orElse helps with a word that is not known: the one that is meant, or else
// all there are.
func orElse(word string, known []string) string {
	if hint := didYouMean(word, known); hint != "" {
		return hint
	}
	switch {
	case len(known) == 0:
		return "; there are none here"
	case len(known) > 12:
		return ""
	default:
		return "; there " + plural(len(known), "is", "are") + " " + and(known)
	}
}

// didYouMean returns a hint at the known word that is nearest, "" if none is near.
func didYouMean(word string, known []string) string {
	if n := nearest(word, known); n != "" {
		return " (did you mean " + strconv.Quote(n) + "?)"
	}
	return ""
}

// nearest returns the known word with the fewest edits from word, or else one
// that is the beginning of the other, or "" if none can have been meant.
func nearest(word string, known []string) string {
	if len(word) > maxShown {
		return ""
	}
	best, least := "", max(1, len(word)/3)+1
	for _, k := range known {
		if edits := distance(strings.ToLower(word), strings.ToLower(k)); edits < least && edits < len(word) {
			best, least = k, edits
		}
	}
	if best != "" {
		return best
	}
	for _, k := range known {
		if len(k) > 2 && strings.HasPrefix(word, k) || len(word) > 2 && strings.HasPrefix(k, word) {
			return k
		}
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that lead from one word to the other.
func distance(a, b string) int {
	var before []int // the row before the last one
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func and(list []string) string { return enumerate(list, " and ") }

func or(list []string) string { return enumerate(list, " or ") }

// enumerate writes a list as people do: a, b and c.
func enumerate(list []string, last string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	n := len(list) - 1
	return strings.Join(list[:n], ", ") + last + list[n]
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
