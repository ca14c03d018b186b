package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

func manCommand() *command {
	return &command{
		name: "man", brief: "print the manual page",
		about: `Prints the manual page of eventd and all its commands, in the form that man
reads.`,
		examples: "eventd man > /usr/local/share/man/man1/eventd.1\neventd man | man -l -",
		bind: func(p *program, _ *flag.FlagSet) func(context.Context, []string) error {
			return func(context.Context, []string) error {
				_, err := io.WriteString(p.stdout, manual(commands()))
				return err
			}
		},
	}
}

// manual returns the manual page: what the help of the program and of each
// command says, as roff with the macros of man(7).
func manual(all []*command) string {
	var b strings.Builder
	about, _, _ := strings.Cut(overviewHead, "\n\n")
	fmt.Fprintf(&b, ".TH EVENTD 1 \"\" \"%s\" \"User Commands\"\n", roff("eventd "+readBuild().Version))
	b.WriteString(".SH NAME\neventd \\- event router with a durable store\n")
	b.WriteString(".SH SYNOPSIS\n.B eventd\n\\-config FILE\n.br\n.B eventd\nCOMMAND [flags] [arguments]\n")
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n.SH COMMANDS\n", roff(about))
	for _, c := range all {
		manualOf(&b, c)
	}
	for section := range strings.SplitSeq(strings.TrimSpace(overviewTail), "\n\n") {
		title, text, found := strings.Cut(section, ":\n")
		if found && !strings.Contains(title, "\n") {
			fmt.Fprintf(&b, ".SH %s\n.nf\n%s\n.fi\n", roff(strings.ToUpper(title)), roff(text))
		}
	}
	return b.String()
}

// manualOf writes the part of one command.
func manualOf(b *strings.Builder, c *command) {
	fmt.Fprintf(b, ".SS \"%s\"\n", roff(strings.Join(strings.Fields(c.call()+" [flags] "+c.operands), " ")))
	if c.about == "" {
		fmt.Fprintf(b, "%s\n", roff(c.brief))
	}
	for i, paragraph := range strings.Split(strings.TrimSpace(c.about), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		fmt.Fprintf(b, "%s\n", roff(paragraph))
	}
	c.flags().VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace("-"+f.Name+" "+value)), roff(usage))
	})
	if c.examples != "" {
		fmt.Fprintf(b, ".PP\nExamples:\n.PP\n.nf\n.RS\n%s\n.RE\n.fi\n", roff(strings.TrimSpace(c.examples)))
	}
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`)

// roff makes any text stand for itself.
func roff(text string) string {
	lines := strings.Split(roffEscapes.Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
