package config

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	d := &decoder{origin: newOrigin("f", nil), env: env, dir: "testdata/files"}
	for _, c := range []struct{ in, value, shown string }{
		{"plain", "plain", "plain"},
		{"$", "$", "$"},
		{"a$b $1 $", "a$b $1 $", "a$b $1 $"},
		{"$$", "$", "$"},
		{"$${WORD}", "${WORD}", "${WORD}"},
		{"$$$${WORD}", "$${WORD}", "$${WORD}"},
		{"$$${WORD}", "$word", "$word"},
		{"<${WORD}${WORD}>", "<wordword>", "<wordword>"},
		{"${NONE:-}", "", ""},
		{"${NONE:-a b}", "a b", "a b"},
		{"${EMPTY:-x}", "x", "x"},
		{"${EMPTY}", "", ""},
		{"${WORD:-x}", "word", "word"},
		{"${WORD:?needed}", "word", "word"},
		{"${NONE:-${WORD}}", "word", "word"},
		{`${NONE:-{"a": {}}}`, `{"a": {}}`, `{"a": {}}`},
		{"${NONE:-$${x}}", "${x}", "${x}"},
		{"${INJECT}", "x, log: {level: debug}\nservice: EVIL", "x, log: {level: debug}\nservice: EVIL"},
		{"Bearer ${file:token}!", "Bearer tok-5f2c9a!", "Bearer <redacted>!"},
		{"${NONE:-${file:token}}", "tok-5f2c9a", "<redacted>"},
		{"${file:${NONE:-token}}", "tok-5f2c9a", "<redacted>"},
		{"${file:two-lines}", "line one\nline two", "<redacted>"},
		{"${API_TOKEN}/${WORD}", "env-tok-77/word", "<redacted>/word"},
		{"${NO_SUCH_SECRET:-fallback}", "fallback", "<redacted>"},
	} {
		got, err := d.expand(c.in, 0)
		if err != nil || got.value != c.value || got.shown != c.shown {
			t.Errorf("expand(%q) = %q shown as %q, %v; want %q shown as %q", c.in, got.value, got.shown, err, c.value, c.shown)
		}
	}
}

// TestExpandLooksOnce keeps what a variable or file has from being taken for
// another variable.
func TestExpandLooksOnce(t *testing.T) {
	tricky := func(string) (string, bool) { return "${file:testdata/files/token} $$", true }
	d := &decoder{origin: newOrigin("f", nil), env: tricky}
	if got, err := d.expand("${X}", 0); err != nil || got.value != "${file:testdata/files/token} $$" {
		t.Errorf("expand = %q, %v; want the value as it is", got.value, err)
	}
}

func TestExpandRefuses(t *testing.T) {
	d := &decoder{origin: newOrigin("f", nil), env: env, dir: "testdata/files"}
	for in, want := range map[string]string{
		"${NONE}":           "NONE is not set",
		"${NONE:?tell me}":  "NONE is needed: tell me",
		"${EMPTY:?}":        "EMPTY is empty",
		"${WORD":            "not closed",
		"${WORD:-${NONE}":   "not closed",
		"${WORD-x}":         "${WORD-x} is not known",
		"${WORD:+x}":        "${WORD:+x} is not known",
		"${a b}":            "${a b} is not known",
		"${file:missing}":   "no such file",
		"${file:.}":         "not a regular file",
		"${file:empty}":     "is empty",
		"${file:${NONE}}":   "NONE is not set",
		"${NONE:-${OTHER}}": "OTHER is not set",
	} {
		if got, err := d.expand(in, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expand(%q) = %q, %v; want an error with %q", in, got.value, err, want)
		}
	}
}

// TestEscapeIsTheWayBack: what escape writes, expand reads as it was.
func TestEscapeIsTheWayBack(t *testing.T) {
	d := &decoder{env: env}
	for _, s := range combinations([]string{"$", "{", "}", "A"}, 5, "") {
		if got, err := d.expand(escape(s), 0); err != nil || got.value != s {
			t.Errorf("expand(escape(%q)) = %q, %v", s, got.value, err)
		}
	}
}
