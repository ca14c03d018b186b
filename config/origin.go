package config

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// origin remembers where in the file everything came from, what is wrong with
// it, and which of it must not be shown.
type origin struct {
	file    string
	lines   int
	places  map[string]place // by path
	given   map[string]bool  // paths that have a value
	varied  map[string]bool  // paths whose value depends on the environment
	broken  map[string]bool  // mappings with keys that are not understood
	shown   map[string]string
	secrets []string
	issues  []Issue
}

type place struct{ line, column int }

func newOrigin(file string, data []byte) *origin {
	return &origin{
		file:   file,
		lines:  bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) + 1,
		places: make(map[string]place),
		given:  make(map[string]bool),
		varied: make(map[string]bool),
		broken: make(map[string]bool),
		shown:  make(map[string]string),
	}
}

// mark notes where path stands.
func (o *origin) mark(path string, n *yaml.Node) { o.places[path] = placeOf(n) }

func placeOf(n *yaml.Node) place { return place{max(1, n.Line), max(1, n.Column)} }

// has reports whether the file gives path a value.
func (o *origin) has(path string) bool { return o.given[path] }

// place returns where path stands, or else what surrounds it.
func (o *origin) place(path string) place {
	for {
		if p, ok := o.places[path]; ok {
			return p
		}
		if path == "" {
			return place{1, 1}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// addf notes a problem at path.
func (o *origin) addf(path, format string, args ...any) {
	o.add(o.place(path), path, fmt.Sprintf(format, args...))
}

func (o *origin) add(p place, path, message string) {
	o.issues = append(o.issues, o.issue(p, path, message))
}

func (o *origin) issue(p place, path, message string) Issue {
	if p.line > o.lines { // the parser puts what is missing at the end behind it
		p = place{o.lines, 1}
	}
	return Issue{File: o.file, Line: p.line, Column: p.column, Path: path, Message: oneLine(o.hide(message))}
}

// oneLine keeps a problem on the line that its position begins.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}

// clean reports whether nothing is wrong at path and below it, so that what
// follows from it can be told.
func (o *origin) clean(path string) bool {
	for _, i := range o.issues {
		if rest, ok := strings.CutPrefix(i.Path, path); ok && (rest == "" || strings.IndexAny(rest, ".[") == 0) {
			return false
		}
	}
	return true
}

// join returns the path of key in the mapping at path.
func join(path, key string) string {
	if !plainKey(key) {
		key = strconv.Quote(shorten(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// item returns the path of an element of the list at path.
func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// plainKey reports whether a key can stand in a path as it is.
func plainKey(key string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`."[]`, r) }
	return key != "" && len(key) <= maxShown && !strings.ContainsFunc(key, odd)
}

// maxShown is how many bytes of a value are repeated in a problem.
const maxShown = 100

func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}
