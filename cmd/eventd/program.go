package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/daemon"
)

// program is one run of the command line: what it reads from and writes to.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) (string, bool)
}

// run does what the arguments, without the program's name, ask for. It returns
// the exit code.
func (p *program) run(args []string) int {
	if len(args) == 0 {
		p.overview(p.stderr)
		return daemon.ExitConfiguration
	}
	c, rest, err := find(commands(), args)
	if err != nil {
		return p.report(err)
	}
	return p.report(p.execute(c, rest))
}

// execute parses the flags of a command and runs it.
func (p *program) execute(c *command, args []string) error {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	action := c.bind(p, fs)
	operands, err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		p.help(p.stdout, c, fs)
		return nil
	case err != nil:
		return usageError{help: c.helpCall(), text: err.Error()}
	case len(operands) < c.least || len(operands) > c.most:
		return usageError{help: c.helpCall(), text: c.operandProblem(operands)}
	}
	ctx, stop := c.context()
	defer stop()
	err = action(ctx, operands)
	var wrong usageError
	if errors.As(err, &wrong) && wrong.help == "" {
		wrong.help = c.helpCall()
		return wrong
	}
	return err
}

// context ends at the first signal that asks the program to end. The daemon
// deals with signals itself.
func (c *command) context() (context.Context, context.CancelFunc) {
	if c.signals {
		return context.Background(), func() {}
	}
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// parse parses flags that stand before, between and behind the operands. What
// follows -- is an operand whatever it looks like.
func parse(fs *flag.FlagSet, args []string) (operands []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, flagProblem(fs, err)
		}
		rest := fs.Args()
		if taken := len(args) - len(rest); taken > 0 && args[taken-1] == "--" {
			return append(operands, rest...), nil
		}
		if len(rest) == 0 {
			return operands, nil
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}

// flagProblem says an error of the flag package in our words.
func flagProblem(fs *flag.FlagSet, err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		// The flag package says no more than that it did not like the value.
		return errors.New(strings.TrimSuffix(err.Error(), ": parse error"))
	}
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	return fmt.Errorf("there is no flag -%s%s", name, didYouMean(name, known, "-"))
}

// usageError is a command line that makes no sense.
type usageError struct {
	text string
	help string // the command line that tells how it is right; "" for that of the command
}

func (e usageError) Error() string { return e.text }

func wrongUsage(format string, args ...any) error {
	return usageError{text: fmt.Sprintf(format, args...)}
}

// silent is an error that has been told already; it is the exit code.
type silent int

func (silent) Error() string { return "" }

// report tells people about an error and returns the exit code.
func (p *program) report(err error) int {
	var (
		wrong    usageError
		told     silent
		problems config.Problems
		refusal  *client.Error
	)
	switch {
	case err == nil:
		return daemon.ExitOK
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &wrong):
		p.say("%s", wrong.text)
		fmt.Fprintf(p.stderr, "Run '%s' for help.\n", wrong.help)
		return daemon.ExitConfiguration
	case errors.As(err, &problems):
		p.tellProblems(problems)
		return daemon.ExitConfiguration
	case errors.As(err, &refusal):
		return p.tellRefusal(refusal)
	}
	p.say("%s", oneLine(err.Error()))
	return daemon.ExitCode(err)
}

// say writes one message for people, with the name of the program in front.
func (p *program) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !strings.HasPrefix(text, "eventd ") {
		text = "eventd: " + text
	}
	fmt.Fprintln(p.stderr, text)
}

// tellProblems lists what is wrong with a configuration file, a line each, in
// the form that editors jump to.
func (p *program) tellProblems(problems config.Problems) {
	for _, issue := range problems {
		fmt.Fprintln(p.stderr, issue)
	}
	if len(problems) > 0 {
		p.say("%s in %s", count(len(problems), "problem"), problems[0].File)
	}
}
