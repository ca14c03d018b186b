package config

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"unicode/utf8"
)

// text is a scalar in which every ${…} has been replaced.
type text struct {
	value    string
	shown    string   // value with its secret parts hidden
	secrets  []string // those parts
	replaced bool     // there was something to replace
}

// append adds a part to the text.
func (t *text) append(part text) {
	t.value += part.value
	t.shown += part.shown
	t.secrets = append(t.secrets, part.secrets...)
}

func (t *text) literal(s string) { t.append(text{value: s, shown: s}) }

// hidden is a part that must not be shown.
func hidden(secret string) text {
	return text{value: secret, shown: redacted, secrets: []string{secret}}
}

// maxNested is how deep a ${…} may stand in the default of another.
const maxNested = 8

// expand replaces ${VAR}, ${VAR:-default}, ${VAR:?message} and ${file:PATH} in
// s, and $$ by $. What it puts in is not looked at again.
func (d *decoder) expand(s string, depth int) (text, error) {
	var t text
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			t.literal(s)
			return t, checkText(t.value)
		}
		t.literal(s[:i])
		switch next := s[i+1]; next {
		case '$':
			t.literal("$")
			s = s[i+2:]
		case '{':
			end := closing(s[i:])
			if end < 0 {
				return t, errors.New(`has a ${ that is not closed; write $${ if that is meant`)
			}
			part, err := d.replace(s[i+2:i+end], depth)
			if err != nil {
				return t, err
			}
			t.append(part)
			t.replaced = true
			s = s[i+end+1:]
		default:
			t.literal("$")
			s = s[i+1:]
		}
	}
}

func checkText(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return errors.New("is not text: it has bytes that are no UTF-8")
	}
	return nil
}

// closing returns where the } stands that closes the ${ at the start of s, or -1.
func closing(s string) int {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

var variable = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)((?s).*))?$`)

// replace returns what stands for ${expr}.
func (d *decoder) replace(expr string, depth int) (text, error) {
	if depth == maxNested {
		return text{}, errors.New("has ${…} nested too deep")
	}
	if path, ok := strings.CutPrefix(expr, "file:"); ok {
		return d.content(path, depth)
	}
	m := variable.FindStringSubmatch(expr)
	if m == nil {
		return text{}, fmt.Errorf("${%s} is not known; write ${NAME}, ${NAME:-default}, ${NAME:?message}, "+
			"${file:PATH}, or $${ for the characters themselves", shorten(expr))
	}
	name, operator, rest := m[1], m[2], m[3]
	value, set := d.env(name)
	switch {
	case set && (value != "" || operator == ""):
		return variableText(name, value), nil
	case operator == ":-":
		t, err := d.expand(rest, depth+1)
		if err == nil && secretName(name) && t.value != "" {
			t = hidden(t.value)
		}
		return t, err
	case operator == ":?" && rest != "":
		return text{}, fmt.Errorf("the environment variable %s is needed: %s", name, rest)
	case set:
		return text{}, fmt.Errorf("the environment variable %s is empty", name)
	default:
		return text{}, fmt.Errorf("the environment variable %s is not set (${%s:-…} gives it a default)", name, name)
	}
}

// variableText is the value of a variable: a secret if its name says so.
func variableText(name, value string) text {
	if value != "" && secretName(name) {
		return hidden(value)
	}
	return text{value: value, shown: value}
}

// content is what a file has, without the newlines at its end.
func (d *decoder) content(path string, depth int) (text, error) {
	name, err := d.expand(path, depth+1)
	if err != nil {
		return text{}, err
	}
	if name.value == "" {
		return text{}, errors.New("${file:} names no file")
	}
	data, err := readFile(d.resolve(name.value))
	if err != nil {
		return text{}, fmt.Errorf("cannot read ${file:%s}: %s", name.shown, cause(err))
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return text{}, fmt.Errorf("the file in ${file:%s} is empty", name.shown)
	}
	return hidden(secret), nil
}

// cause returns why a file could not be read, without repeating its name.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
