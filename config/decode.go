package config

import (
	"reflect"
	"strconv"

	"gopkg.in/yaml.v3"
)

// decoder walks the nodes of the file and the fields of the structs together.
// It goes on after a problem, so that all of them are found.
type decoder struct {
	*origin
	env func(string) (string, bool)
	dir string // paths in the file start from here
}

// value decodes n, which stands at path, into v.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	d.mark(path, n)
	n = target(n)
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		d.refuse(path, "has the tag "+shorten(n.Tag)+"; tags are not understood here")
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.refuse(path, "has no value; expected "+expected(v.Type(), tag))
	case v.Kind() == reflect.Slice && n.Kind == yaml.ScalarNode && tag.Get("single") != "":
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.scalar(n, path, v.Index(0), tag)
	case n.Kind != kindOf(v.Type()):
		d.refuse(path, "expected "+expected(v.Type(), tag)+", got "+describe(n))
	default:
		d.decode(n, path, v, tag)
	}
}

// refuse notes a problem of a value that is there, but tells nothing.
func (d *decoder) refuse(path, message string) {
	d.given[path] = true
	d.broken[path] = true
	d.addf(path, "%s", message)
}

// kindOf returns what kind of node a type is decoded from.
func kindOf(t reflect.Type) yaml.Kind {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return yaml.MappingNode
	case reflect.Slice:
		return yaml.SequenceNode
	default:
		return yaml.ScalarNode
	}
}

func (d *decoder) decode(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	d.given[path] = true
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		v.Elem().Set(fresh(v.Type().Elem()))
		d.structure(n, path, v.Elem())
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Map:
		d.mapping(n, path, v, tag)
	case reflect.Slice:
		d.list(n, path, v, tag)
	default:
		d.scalar(n, path, v, tag)
	}
}

func (d *decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	for _, p := range d.pairs(n, path) {
		at := join(path, p.key)
		f, ok := find(fields, p.key)
		switch {
		case !ok:
			d.broken[path] = true
			d.add(p.at, at, "unknown key"+orElse(p.key, keysOf(fields)))
		case f.later:
			d.broken[path] = true
			d.add(p.at, at, "is not supported yet")
		default:
			d.value(p.value, at, v.Field(f.index), f.tag)
		}
	}
	d.require(path, fields)
}

// require notes the keys that are missing. One that is misspelt would be told
// twice, so it keeps quiet where a key was not understood.
func (d *decoder) require(path string, fields []field) {
	if d.broken[path] {
		return
	}
	for _, f := range fields {
		if at := join(path, f.key); f.tag.Get("required") != "" && !d.has(at) {
			d.addf(at, "is required")
		}
	}
}

func (d *decoder) mapping(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range d.pairs(n, path) {
		at := join(path, p.key)
		if problem := forms[tag.Get("keys")].problem(p.key); problem != "" {
			d.add(p.at, at, strconv.Quote(shorten(p.key))+problem)
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		elem.Set(fresh(elem.Type()))
		d.value(p.value, at, elem, "")
		if d.has(at) {
			v.SetMapIndex(reflect.ValueOf(p.key), elem)
		}
	}
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value, tag reflect.StructTag) {
	if len(n.Content) == 0 {
		d.addf(path, "is an empty list")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, element := range n.Content {
		at := item(path, i)
		v.Index(i).Set(fresh(v.Type().Elem()))
		d.value(element, at, v.Index(i), tag)
		if !d.has(at) {
			d.addf(at, "is empty")
		}
	}
}

// pair is one entry of a mapping.
type pair struct {
	key   string
	at    place
	value *yaml.Node
}

// pairs returns the entries of a mapping, each key once, with those that it
// merges in through <<.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	var own, merged []pair
	seen := make(map[string]place)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		p := pair{target(key).Value, placeOf(key), value}
		before, double := seen[p.key]
		switch {
		case key.Tag == "!!merge":
			merged = append(merged, d.merged(value, path)...)
		case target(key).Kind != yaml.ScalarNode:
			d.add(p.at, path, "a key must be a single value, not "+describe(target(key)))
		case double:
			d.add(p.at, join(path, p.key), "is there twice, first in line "+itoa(before.line))
		default:
			seen[p.key] = p.at
			own = append(own, p)
		}
	}
	for _, p := range merged {
		if _, ok := seen[p.key]; !ok {
			seen[p.key] = p.at
			own = append(own, p)
		}
	}
	return own
}

// merged returns the entries that the value of a << stands for.
func (d *decoder) merged(n *yaml.Node, path string) []pair {
	switch m := target(n); m.Kind {
	case yaml.MappingNode:
		return d.pairs(m, path)
	case yaml.SequenceNode:
		var all []pair
		for _, element := range m.Content {
			all = append(all, d.merged(element, path)...)
		}
		return all
	default:
		d.broken[path] = true
		d.add(placeOf(n), join(path, "<<"), "expected a mapping to merge in, or a list of them")
		return nil
	}
}
