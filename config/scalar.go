package config

import (
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

func itoa(i int) string { return strconv.Itoa(i) }

// scalar decodes a single value. One that ${…} leaves empty counts as not given.
func (d *decoder) scalar(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	t, err := d.expand(n.Value, 0)
	if err != nil {
		d.refuse(path, err.Error())
		return
	}
	d.remember(path, t)
	d.varied[path] = t.replaced
	if t.value == "" && t.replaced {
		delete(d.given, path)
		return
	}
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	d.given[path] = true
	if problem := d.set(v, t.value, tag, quoted && !t.replaced); problem != "" {
		d.addf(path, "%s", strings.Replace(problem, valueMark, d.quote(path, t.value), 1))
	}
}

// valueMark stands in a problem for the value, which may be secret.
const valueMark = "\x00"

// set stores text in v and returns what is wrong with it, "" for nothing.
func (d *decoder) set(v reflect.Value, text string, tag reflect.StructTag, quoted bool) string {
	if word := tag.Get("zero"); word != "" && text == word {
		v.SetZero()
		return ""
	}
	if v.Kind() != reflect.String && quoted {
		return "expected " + expected(v.Type(), tag) + ", got the text " + valueMark + "; leave the quotes out"
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return setDuration(v, text, tag)
	case v.Type() == reflect.TypeFor[Size]():
		return setSize(v, text, tag)
	case v.Kind() == reflect.Int:
		return setInt(v, text, tag)
	case v.Kind() == reflect.Float64:
		return setFloat(v, text, tag)
	case v.Kind() == reflect.Bool:
		return setBool(v, text, tag)
	default:
		return d.setString(v, text, tag)
	}
}

func (d *decoder) setString(v reflect.Value, text string, tag reflect.StructTag) string {
	v.SetString(text)
	if text == "" {
		return "is empty"
	}
	if tag.Get("file") != "" {
		return d.setFile(v, text)
	}
	if enum := words(tag, "enum"); enum != nil {
		return enumProblem(text, enum, words(tag, "later"))
	}
	if problem := forms[tag.Get("form")].problem(text); problem != "" {
		return valueMark + problem
	}
	return ""
}

func enumProblem(text string, enum, later []string) string {
	switch {
	case slices.Contains(enum, text):
		return ""
	case slices.Contains(later, text):
		return valueMark + " is not supported yet; use " + strings.Join(enum, " or ")
	case nearest(text, enum) != "":
		return valueMark + " is not " + or(enum) + didYouMean(text, enum)
	default:
		return valueMark + " is not " + or(enum)
	}
}

// setFile stores the path of a file that eventd will need, and looks whether it
// can be read: a check that passes must mean that eventd starts.
func (d *decoder) setFile(v reflect.Value, text string) string {
	path := d.resolve(text)
	v.SetString(path)
	if _, err := readFile(path); err != nil {
		return "cannot read the file: " + cause(err)
	}
	return ""
}

// resolve returns the path of a file that the configuration names, so that it
// stays the same wherever it is opened.
func (d *decoder) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	joined := filepath.Join(d.dir, path)
	if abs, err := filepath.Abs(joined); err == nil {
		return abs
	}
	return joined
}

func setInt(v reflect.Value, text string, tag reflect.StructTag) string {
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return mismatch(v, tag)
	}
	v.SetInt(i)
	return outside(tag, func(limit string) int64 {
		l, _ := strconv.ParseInt(limit, 10, 64)
		return i - l
	})
}

func setFloat(v reflect.Value, text string, tag reflect.StructTag) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return mismatch(v, tag)
	}
	v.SetFloat(f)
	return outside(tag, func(limit string) float64 {
		l, _ := strconv.ParseFloat(limit, 64)
		return f - l
	})
}

func setBool(v reflect.Value, text string, tag reflect.StructTag) string {
	if text != "true" && text != "false" {
		return mismatch(v, tag)
	}
	v.SetBool(text == "true")
	return ""
}

var (
	onlyDigits = regexp.MustCompile(`^[0-9]+$`)
	inDays     = regexp.MustCompile(`^([0-9]{1,5})([dw])$`)
)

func setDuration(v reflect.Value, text string, tag reflect.StructTag) string {
	if onlyDigits.MatchString(text) {
		meant := text + "s"
		if word := tag.Get("zero"); word != "" && strings.Trim(text, "0") == "" {
			meant = word
		}
		return valueMark + " has no unit (did you mean " + meant + "?)"
	}
	if m := inDays.FindStringSubmatch(text); m != nil {
		days, _ := strconv.Atoi(m[1])
		hours := days * map[string]int{"d": 24, "w": 168}[m[2]]
		return valueMark + " has the unit " + m[2] + ", which is not known (did you mean " + itoa(hours) + "h?)"
	}
	t, err := time.ParseDuration(text)
	if err != nil {
		return mismatch(v, tag)
	}
	v.SetInt(int64(t))
	return outside(tag, func(limit string) time.Duration {
		l, _ := time.ParseDuration(limit)
		return t - l
	})
}

func mismatch(v reflect.Value, tag reflect.StructTag) string {
	return "expected " + expected(v.Type(), tag) + ", got " + valueMark
}

// outside says that a value is outside of its range. over returns by how much
// it is above a limit.
func outside[T int64 | float64 | time.Duration | Size](tag reflect.StructTag, over func(limit string) T) string {
	if limit := tag.Get("min"); limit != "" && over(limit) < 0 {
		return valueMark + " is too small; the least is " + limit
	}
	if limit := tag.Get("max"); limit != "" && over(limit) > 0 {
		return valueMark + " is too large; the most is " + limit
	}
	return ""
}

// expected says what a value must be.
func expected(t reflect.Type, tag reflect.StructTag) string {
	alternative := ""
	if word := tag.Get("zero"); word != "" {
		alternative = " or " + word
	}
	if enum := words(tag, "enum"); enum != nil {
		return or(enum)
	}
	if t == reflect.TypeFor[Size]() {
		return "a size such as 512MiB or 4GiB" + alternative
	}
	switch t.Kind() {
	case reflect.Slice:
		if tag.Get("single") != "" {
			return "a value or a list of them"
		}
		return "a list"
	case reflect.Map:
		return "a mapping of names"
	case reflect.Pointer:
		return expected(t.Elem(), "")
	case reflect.Struct:
		if keys := keysOf(fieldsOf(t)); len(keys) > 0 {
			return "a mapping with keys such as " + keys[0]
		}
		return "{}"
	case reflect.Int:
		return "a whole number" + alternative
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.Int64:
		return "a duration such as 30s or 5m" + alternative
	default:
		return "text" + alternative
	}
}
