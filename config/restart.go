package config

import (
	"reflect"
	"slices"
)

// NeedsRestart returns the keys that differ between two configurations and
// cannot change while eventd runs, in the order of the file; none means that
// the new one can be taken over. Streams that eventd adds by itself may change.
func NeedsRestart(old, new *Config) []string {
	var keys []string
	a, b := reflect.ValueOf(*old), reflect.ValueOf(*new)
	for _, f := range fieldsOf(a.Type()) {
		if f.tag.Get("restart") != "" {
			keys = append(keys, differences(f.key, a.Field(f.index), b.Field(f.index))...)
		}
	}
	return keys
}

// differences returns the paths at which a and b differ.
func differences(path string, a, b reflect.Value) []string {
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			break
		}
		return differences(path, a.Elem(), b.Elem())
	case reflect.Struct:
		var keys []string
		for _, f := range fieldsOf(a.Type()) {
			keys = append(keys, differences(join(path, f.key), a.Field(f.index), b.Field(f.index))...)
		}
		return keys
	case reflect.Map:
		return mapDifferences(path, a, b)
	}
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return nil
	}
	return []string{path}
}

func mapDifferences(path string, a, b reflect.Value) []string {
	var keys []string
	for _, m := range []reflect.Value{a, b} {
		for _, name := range m.MapKeys() {
			at := join(path, name.String())
			x, y := a.MapIndex(name), b.MapIndex(name)
			switch {
			case slices.Contains(keys, at):
			case !x.IsValid() || !y.IsValid():
				keys = append(keys, at)
			default:
				keys = append(keys, differences(at, x, y)...)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
