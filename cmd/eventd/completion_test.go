package main

import (
	"flag"
	"slices"
	"strings"
	"testing"
)

func words(list []candidate) string {
	var all []string
	for _, c := range list {
		all = append(all, c.word)
	}
	return strings.Join(all, " ")
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct{ typed, want string }{
		{"ev", "events"},
		{"events ", "list show redrive cancel"},
		{"events l", "list"},
		{"events nope", ""},
		{"events list -t", "-table -timeout -token-file -type"},
		{"events list -table ", "inbound request response"},
		{"events list -table in", "inbound"},
		{"events list --table in", "inbound"},
		{"events list -status F", "FAILED"},
		{"events list -type ", ""},
		{"events list -all ", ""},
		{"events list -all -oldest", "-oldest-first"},
		{"events redrive -filter s", "status= source_service= since="},
		{"events redrive x -filter status=ERROR -y", "-yes"},
		{"redrives ", "list show cancel"},
		{"-c", "-config"},
		{"-config ", ""},
		{"completion ", "bash fish zsh"},
		{"completion bash ", ""},
		{"help eve", "events"},
		{"help events c", "cancel"},
		{"check -config ", ""},
		{"nope ", ""},
		{"nope nope -", ""},
	} {
		if got := words(candidates(commands(), strings.Split(c.typed, " "))); got != c.want {
			t.Errorf("eventd %s: %q; want %q", c.typed, got, c.want)
		}
	}
	first := candidates(commands(), nil)
	for _, c := range commands() {
		word, _, _ := strings.Cut(c.name, " ")
		n := 0
		for _, x := range first {
			if x.word == word {
				n++
			}
		}
		if c.name != "" && n != 1 {
			t.Errorf("%s is offered %d times; want once", word, n)
		}
	}
}

// TestManualHasEverything: every command with its flags, and nothing that roff
// would take for a request of its own.
func TestManualHasEverything(t *testing.T) {
	page := manual(commands())
	for _, c := range commands() {
		_, part, found := strings.Cut(page, "\n.SS \""+roff(strings.TrimSpace(c.call()+" [flags]")))
		if !found {
			t.Errorf("%s is not in the manual", c.call())
			continue
		}
		part, _, _ = strings.Cut(part, "\n.SS ")
		c.flags().VisitAll(func(f *flag.Flag) {
			if !strings.Contains(part, "\n.B "+roff("-"+f.Name)) {
				t.Errorf("flag -%s of %s is not in the manual", f.Name, c.call())
			}
		})
	}
	for _, title := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXAMPLES", "ENVIRONMENT", "EXIT CODES"} {
		if !strings.Contains(page, "\n.SH "+title+"\n") {
			t.Errorf("no section %s", title)
		}
	}
	known := []string{".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".B", ".br", ".nf", ".fi"}
	for line := range strings.Lines(page) {
		request, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, ".") && !slices.Contains(known, request) || strings.HasPrefix(line, "'") {
			t.Errorf("a request that is none: %s", line)
		}
	}
}

func TestRoff(t *testing.T) {
	const text = ".dot\n'quote\na\\b -c \"d\"\nend."
	if got, want := roff(text), "\\&.dot\n\\&'quote\na\\eb \\-c \\(dqd\\(dq\nend."; got != want {
		t.Errorf("roff = %q; want %q", got, want)
	}
}
