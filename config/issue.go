package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = errors.New("larger than 4 MiB")
)

// Issue is one problem of a configuration file.
type Issue struct {
	File         string
	Line, Column int    // from 1
	Path         string // routes[1].handler; "" for the file as a whole
	Message      string // without secrets
}

// String returns the issue as people read it and editors jump to it:
// routes.yaml:14:7: routes[1].handler: no handler is named "servce-a".
func (i Issue) String() string {
	at := fmt.Sprintf("%s:%d:%d: ", i.File, i.Line, i.Column)
	if i.Path != "" {
		at += i.Path + ": "
	}
	return at + i.Message
}

// Problems is the error of a file that cannot be used: everything that is
// wrong with it, in the order of the file.
type Problems []Issue

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Issue returns the problem err at path, such as routes[1].when. Where the file
// does not have that path, the position is that of what surrounds it.
func (c *Config) Issue(path string, err error) Issue {
	return c.origin.issue(c.origin.place(path), path, err.Error())
}

// Sound reports whether the file gives path a value with which nothing is wrong
// so far, so that a [Check] may look further.
func (c *Config) Sound(path string) bool { return c.origin.has(path) && c.origin.clean(path) }

// At returns where in the file the value at path begins; line and column count from 1.
func (c *Config) At(path string) (line, column int) {
	p := c.origin.place(path)
	return p.line, p.column
}

// problems returns what was found, in the order of the file.
func (o *origin) problems() Problems {
	slices.SortStableFunc(o.issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return Problems(slices.Compact(o.issues))
}
