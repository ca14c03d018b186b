package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/daemon"
)

func checkCommand() *command {
	return &command{
		name: "check", operands: "[FILE]", most: 1, brief: "check a configuration file, and list all that is wrong with it",
		about: `Checks a configuration file as starting with it would, and lists all that is
wrong with it, a line each. It needs no running daemon. Exit code 0 or 2.`,
		examples: `eventd check -config routes.yaml
eventd check -json routes.yaml | jq .problems`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			path := fs.String("config", "", "the configuration `FILE`")
			asJSON := fs.Bool("json", false, "print the verdict as JSON")
			return func(_ context.Context, operands []string) error {
				if (*path == "") == (len(operands) == 0) {
					return wrongUsage("which file? eventd check -config routes.yaml")
				}
				return p.check(cmp.Or(append(operands, *path)...), *asJSON)
			}
		},
	}
}

// verdict is what check prints as JSON.
type verdict struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Problems []problem `json:"problems"`
}

type problem struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func (p *program) check(path string, asJSON bool) error {
	c, err := daemon.Load(path, p.env)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if asJSON {
		return p.checkJSON(path, problems)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: ok (%s, %s, %s)\n", path, count(len(c.Sources), "source"),
		count(len(c.Handlers), "handler"), count(len(c.Routes), "route"))
	return nil
}

func (p *program) checkJSON(path string, problems config.Problems) error {
	v := verdict{File: path, OK: len(problems) == 0, Problems: []problem{}}
	for _, i := range problems {
		v.Problems = append(v.Problems, problem{Line: i.Line, Column: i.Column, Path: i.Path, Message: i.Message})
	}
	if err := p.printJSON(v); err != nil {
		return err
	}
	if !v.OK {
		return silent(daemon.ExitConfiguration)
	}
	return nil
}

func schemaCommand() *command {
	return &command{
		name: "schema", brief: "print the JSON Schema of the configuration file, for editors",
		about: `Prints the JSON Schema of the configuration file. Editors use it to complete and
check while one types: see the second example for those with a YAML language
server.`,
		examples: `eventd schema > eventd.schema.json
sed -i '1i # yaml-language-server: $schema=eventd.schema.json' routes.yaml`,
		bind: func(p *program, _ *flag.FlagSet) func(context.Context, []string) error {
			return func(context.Context, []string) error {
				schema, err := config.Schema()
				if err != nil {
					return err
				}
				_, err = p.stdout.Write(schema)
				return err
			}
		},
	}
}

// printJSON writes one value on one line.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
