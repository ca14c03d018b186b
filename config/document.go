package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxExpanded is how many values a file may have once its aliases are replaced.
const maxExpanded = 100_000

const emptyFile = "the file is empty; the smallest useful one has service, sources, handlers and routes"

// parse returns the one mapping that the file consists of; nil after it has
// noted why there is none.
func (o *origin) parse(data []byte) *yaml.Node {
	if at := notText(data); at >= 0 {
		o.add(placeAt(data, at), "", "here is something that a text file does not have: bytes that are no UTF-8, "+
			"a control character, or an odd line break")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		o.add(place{1, 1}, "", emptyFile)
		return nil
	case err != nil:
		o.syntax(err, data)
		return nil
	}
	o.refuseSecond(dec, data)
	root := doc.Content[0]
	if root.Tag == "!!null" {
		o.add(place{1, 1}, "", emptyFile)
		return nil
	}
	if !o.expandable(root) {
		return nil
	}
	if target(root).Kind != yaml.MappingNode {
		o.add(placeOf(root), "", "expected keys such as service and routes, got "+describe(target(root)))
		return nil
	}
	return root
}

func (o *origin) refuseSecond(dec *yaml.Decoder, data []byte) {
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		o.add(placeOf(second.Content[0]), "", "a second document begins here; the file must have only one")
	case !errors.Is(err, io.EOF):
		o.syntax(err, data)
	}
}

// notText returns the offset of the first character that no YAML file can
// have, or -1.
func notText(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1, isControl(r) && r != '\t' && r != '\n' && r != '\r':
			return i
		case r == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")), strings.ContainsRune("\u0085\u2028\u2029", r):
			// YAML counts them as line breaks, editors do not.
			return i
		}
		i += size
	}
	return -1
}

// placeAt returns the place of an offset.
func placeAt(data []byte, offset int) place {
	before := data[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return place{bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1}
}

var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// misplaced are the problems for which the parser gives the line before.
	misplaced = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or .*|<.*)$`)
)

var syntaxHints = map[string]string{
	"mapping values are not allowed in this context": `a value that has ": " in it needs quotes, and keys of one mapping must be indented alike`,
	"found character that cannot start any token":    "a line must not be indented with a tab, nor a value begin with @, % or a backquote",
	"did not find expected key":                      "keys of one mapping must be indented alike",
	"did not find expected ',' or '}'":               "a { is not closed, a comma is missing, or a value with ? or { in it needs quotes",
	"did not find expected ',' or ']'":               "a [ is not closed, a comma is missing, or a value with ? or [ in it needs quotes",
	"found incompatible YAML document":               "leave the %YAML line out",
}

// syntax notes an error of the YAML parser, which knows the line at most.
func (o *origin) syntax(err error, data []byte) {
	m := syntaxError.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if m == nil {
		m = []string{"", "", err.Error()}
	}
	message := m[2]
	if anchor := unknownAnchor.FindStringSubmatch(message); anchor != nil {
		at := max(0, bytes.Index(data, []byte("*"+anchor[1])))
		o.add(placeAt(data, at), "", "nothing is named &"+anchor[1]+" before this, so *"+anchor[1]+" repeats nothing")
		return
	}
	line, _ := strconv.Atoi(m[1])
	if line > 0 && misplaced.MatchString(message) {
		line++
	}
	if hint := syntaxHints[message]; hint != "" {
		message += " (" + hint + ")"
	}
	line = min(max(line, 1), o.lines)
	o.add(place{line, indent(data, line)}, "", "not valid YAML: "+message)
}

// indent returns the column of the first character of a line.
func indent(data []byte, line int) int {
	for range line - 1 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	row, _, _ := bytes.Cut(data, []byte("\n"))
	text := bytes.TrimLeft(row, " \t")
	if len(bytes.TrimSpace(text)) == 0 {
		return 1
	}
	return len(row) - len(text) + 1
}

// expandable reports whether replacing every alias ends, and ends in a file of
// a sensible size. It replaces none of them to find out.
func (o *origin) expandable(root *yaml.Node) bool {
	sizes := make(map[*yaml.Node]int)
	size, where := expandedSize(root, sizes)
	switch {
	case where != nil:
		o.add(placeOf(where), "", "the alias *"+where.Value+" stands inside the value that it repeats")
	case size > maxExpanded:
		o.add(placeOf(root), "", "the aliases of this file expand to more than "+strconv.Itoa(maxExpanded)+" values")
	default:
		return true
	}
	return false
}

// expandedSize returns how many values n has once aliases are replaced; an
// alias that stands inside of what it repeats is returned instead.
func expandedSize(n *yaml.Node, sizes map[*yaml.Node]int) (int, *yaml.Node) {
	const pending = -1
	if n.Kind == yaml.AliasNode {
		if sizes[n.Alias] == pending {
			return 0, n
		}
		return expandedSize(n.Alias, sizes)
	}
	if size, ok := sizes[n]; ok {
		return size, nil
	}
	sizes[n] = pending
	size := 1
	for _, child := range n.Content {
		more, cycle := expandedSize(child, sizes)
		if cycle != nil {
			return 0, cycle
		}
		size = min(size+more, maxExpanded+1)
	}
	sizes[n] = size
	return size, nil
}

// target returns n, or what it is an alias of.
func target(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// describe says what a value is, for "expected …, got …".
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return "a single value"
	}
}
