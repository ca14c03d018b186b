package config

import (
	"reflect"
	"strings"
)

// field is one key of a mapping, as its struct declares it.
type field struct {
	index int
	key   string
	tag   reflect.StructTag
	later bool // not supported yet
}

// fieldsOf returns the keys that a struct declares, in its order.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		fields = append(fields, field{i, key, f.Tag, f.Type == reflect.TypeFor[later]()})
	}
	return fields
}

// keysOf returns the keys that can be used.
func keysOf(fields []field) []string {
	var keys []string
	for _, f := range fields {
		if !f.later {
			keys = append(keys, f.key)
		}
	}
	return keys
}

func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// words returns the list in a tag.
func words(tag reflect.StructTag, name string) []string {
	if tag.Get(name) == "" {
		return nil
	}
	return strings.Split(tag.Get(name), ",")
}
