package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// command is one thing the program can do.
type command struct {
	name     string // "" runs the daemon, "events list" has two words
	operands string // what follows the flags: EVENT_ID
	least    int    // number of operands
	most     int
	brief    string // one line of the overview
	about    string // what its help says besides
	examples string
	choices  func() []string // the operands it takes, where there is a list
	signals  bool            // it deals with signals itself
	// bind declares the flags and returns what runs once they are parsed.
	bind func(*program, *flag.FlagSet) func(ctx context.Context, operands []string) error
}

// commands lists all there are, in the order of the overview.
func commands() []*command {
	return slices.Concat([]*command{
		serveCommand(), checkCommand(), schemaCommand(),
		sendCommand(), explainCommand(),
		listCommand(), showCommand(), redriveCommand(), cancelCommand(),
		correlationCommand(), workingGetCommand(), workingPutCommand(), workingPatchCommand(),
		redrivesListCommand(), redrivesShowCommand(), redrivesCancelCommand(), schedulesCommand(),
		handlersListCommand(), handlersPauseCommand(), handlersResumeCommand(),
	}, storeCommands(), []*command{
		healthCommand(), versionCommand(), completionCommand(), manCommand(), helpCommand(),
	})
}

// find returns the command that the arguments name, and what follows its name.
func find(all []*command, args []string) (c *command, rest []string, err error) {
	switch first := args[0]; {
	case first == "-h" || first == "-help" || first == "--help":
		return named(all, "help"), args[1:], nil
	case first == "-version" || first == "--version":
		return named(all, "version"), args[1:], nil
	case strings.HasPrefix(first, "-"):
		return named(all, ""), args, nil
	}
	if c := named(all, args[0]); c != nil {
		return c, args[1:], nil
	}
	if group := below(all, args[0]); len(group) > 0 {
		return findBelow(all, group, args)
	}
	return nil, nil, unknownCommand(all, args[0])
}

// findBelow finds a command whose name has two words.
func findBelow(all []*command, group []string, args []string) (*command, []string, error) {
	if len(args) == 1 {
		return nil, nil, usageError{help: "eventd help " + args[0], text: args[0] + " what? " + strings.Join(group, ", ")}
	}
	switch args[1] {
	case "-h", "-help", "--help":
		return named(all, "help"), args[:1], nil
	}
	if c := named(all, args[0]+" "+args[1]); c != nil {
		return c, args[2:], nil
	}
	hint := didYouMean(args[1], group, args[0]+" ")
	if hint == "" {
		hint = ": there are " + strings.Join(group, ", ")
	}
	return nil, nil, usageError{help: "eventd help " + args[0], text: fmt.Sprintf("there is no command %q%s", args[0]+" "+args[1], hint)}
}

func named(all []*command, name string) *command {
	for _, c := range all {
		if c.name == name {
			return c
		}
	}
	return nil
}

// below returns the second words of the commands that begin with a word.
func below(all []*command, first string) (group []string) {
	for _, c := range all {
		if second, ok := strings.CutPrefix(c.name, first+" "); ok {
			group = append(group, second)
		}
	}
	return group
}

func unknownCommand(all []*command, name string) error {
	if strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		return usageError{help: "eventd help", text: fmt.Sprintf("there is no command %q (to run it: eventd -config %s)", name, name)}
	}
	var known []string
	for _, c := range all {
		first, _, _ := strings.Cut(c.name, " ")
		known = append(known, first)
	}
	return usageError{help: "eventd help", text: fmt.Sprintf("there is no command %q%s", name, didYouMean(name, known, ""))}
}

// call is how the command is written.
func (c *command) call() string { return strings.TrimSpace("eventd " + c.name) }

// helpCall is how its help is asked for.
func (c *command) helpCall() string {
	if c.name == "" {
		return "eventd help"
	}
	return c.call() + " -h"
}

func (c *command) operandProblem(operands []string) string {
	if len(operands) < c.least {
		return fmt.Sprintf("%s needs %s", c.call(), c.operands)
	}
	return fmt.Sprintf("%q is one argument too many", operands[c.most])
}

// help writes how a command is used.
func (p *program) help(w io.Writer, c *command, fs *flag.FlagSet) {
	if c.name == "" {
		p.overview(w)
		return
	}
	fmt.Fprintf(w, "Usage: %s\n\n%s\n", strings.Join(strings.Fields(c.call()+" [flags] "+c.operands), " "), strings.TrimSpace(c.about))
	var flags strings.Builder
	tw := tabwriter.NewWriter(&flags, 0, 0, 3, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(tw, "  -%s\t%s\n", strings.TrimSpace(f.Name+" "+value), usage)
	})
	_ = tw.Flush() // a strings.Builder never fails
	if flags.Len() > 0 {
		fmt.Fprintf(w, "\nFlags:\n%s", flags.String())
	}
	fmt.Fprintf(w, "\nExamples:\n%s\n", indent(c.examples))
}

// indent puts every line of an example two columns in.
func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}
