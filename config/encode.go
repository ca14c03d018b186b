package config

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Redacted returns the configuration in effect as YAML: with defaults, with
// the streams that eventd adds, and with <redacted> in place of every secret.
// Where it has no secrets, it can be loaded again and means the same.
func (c *Config) Redacted() ([]byte, error) {
	effective := *c
	effective.NATS.Streams = c.NATS.EffectiveStreams
	e := encoder{c.origin}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(e.value("", reflect.ValueOf(effective), "")); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

// escape writes text so that reading it replaces nothing in it.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '$' || s[i+1] == '{') {
			b.WriteByte('$')
		}
	}
	return b.String()
}

// encoder is the way back from the structs to YAML.
type encoder struct{ *origin }

// value returns v as a node, or nil if it is not to be written.
func (e encoder) value(path string, v reflect.Value, tag reflect.StructTag) *yaml.Node {
	if word := tag.Get("zero"); word != "" && v.IsZero() {
		return scalarNode(word)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return e.structure(path, v.Elem())
	case reflect.Struct:
		if n := e.structure(path, v); len(n.Content) > 0 {
			return n
		}
		return nil
	case reflect.Map:
		return e.mapping(path, v)
	case reflect.Slice:
		return e.list(path, v)
	case reflect.String:
		return e.text(path, v.String())
	default:
		if shown, secret := e.shown[path]; secret {
			return scalarNode(shown)
		}
		return number(v, tag)
	}
}

func (e encoder) structure(path string, v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		if f.later {
			continue
		}
		if child := e.value(join(path, f.key), v.Field(f.index), f.tag); child != nil {
			n.Content = append(n.Content, scalarNode(f.key), child)
		}
	}
	return n
}

func (e encoder) mapping(path string, v reflect.Value) *yaml.Node {
	if v.Len() == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	names := make(map[string]bool, v.Len())
	for _, key := range v.MapKeys() {
		names[key.String()] = true
	}
	for _, name := range Names(names) {
		at := join(path, name)
		child := e.value(at, v.MapIndex(reflect.ValueOf(name)), "")
		n.Content = append(n.Content, scalarNode(e.hide(name)), child) // a stream may be named after a secret
	}
	return n
}

func (e encoder) list(path string, v reflect.Value) *yaml.Node {
	if v.Len() == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if v.Type().Elem().Kind() != reflect.Struct {
		n.Style = yaml.FlowStyle
	}
	for i := range v.Len() {
		n.Content = append(n.Content, e.value(item(path, i), v.Index(i), ""))
	}
	return n
}

func (e encoder) text(path, s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return scalarNode(escape(e.show(path, hideURL(s))))
}

func scalarNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func number(v reflect.Value, tag reflect.StructTag) *yaml.Node {
	if v.IsZero() && (v.Kind() == reflect.Bool || strings.HasSuffix(tag.Get("yaml"), ",omitempty")) {
		return nil
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch x := v.Interface().(type) {
	case time.Duration:
		n.Value = formatDuration(x)
	case Size:
		n.Value = x.String()
	case float64:
		n.Value = strconv.FormatFloat(x, 'g', -1, 64)
	case bool:
		n.Value = strconv.FormatBool(x)
	default:
		n.Value = strconv.FormatInt(v.Int(), 10)
	}
	return n
}

// formatDuration writes a duration as people do: 5m, not 5m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
