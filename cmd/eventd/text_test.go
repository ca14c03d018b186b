package main

import (
	"testing"
	"time"
)

func TestPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain ünïcode 日本", "plain ünïcode 日本"},
		{"two\nlines\tand more\r\n", "two lines and more  "},
		{"\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"},
		{"bell\a, delete\x7f, C1\u009b", "bell\ufffd, delete\ufffd, C1\ufffd"},
		{"right to left \u202e", "right to left \ufffd"},
		{"bad \xff byte", "bad \ufffd byte"},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("printable(%q) = %q; want %q", c.in, got, c.want)
		}
	}
}

func TestLasting(t *testing.T) {
	for _, c := range []struct {
		in   time.Duration
		want string
	}{
		{0, ""}, {-time.Second, ""}, {1500 * time.Nanosecond, "2µs"}, {1234567 * time.Nanosecond, "1.2ms"},
		{12345 * time.Millisecond, "12.35s"}, {90*time.Second + 400*time.Millisecond, "1m30s"}, {25 * time.Hour, "25h0m0s"},
	} {
		if got := lasting(c.in); got != c.want {
			t.Errorf("lasting(%d) = %q; want %q", c.in, got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöü", 3, "äöü"}, {"äöüß", 3, "äö…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"", 0, ""}} {
		if got := cut(c.in, c.limit); got != c.want {
			t.Errorf("cut(%q, %d) = %q; want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	known := []string{"", "config", "table", "status", "limit", "since", "handler"}
	for _, c := range []struct{ word, want string }{
		{"cofnig", " (did you mean -config?)"}, {"tabel", " (did you mean -table?)"}, {"Status", " (did you mean -status?)"},
		{"hand", " (did you mean -handler?)"}, {"limits", " (did you mean -limit?)"}, {"x", ""}, {"correlation", ""}, {"", ""},
	} {
		if got := didYouMean(c.word, known, "-"); got != c.want {
			t.Errorf("didYouMean(%q) = %q; want %q", c.word, got, c.want)
		}
	}
}
