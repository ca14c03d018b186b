package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object; encoding/json writes its keys in order.
type object = map[string]any

const (
	durationForm     = `^[0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h)([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$`
	interpolatedForm = `\$\{`
)

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. It
// knows the keys, types, ranges and forms; what depends on other values is
// checked by [Load] alone. Keys that are not supported yet are not in it.
func Schema() ([]byte, error) {
	root := structSchema(reflect.ValueOf(*initial()))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Configuration of eventd"
	root["$defs"] = object{
		"duration":     object{"type": "string", "pattern": durationForm, "examples": []string{"500ms", "30s", "1h30m"}},
		"size":         object{"type": "string", "pattern": sizeForm, "examples": []string{"512MiB", "4GiB"}},
		"interpolated": object{"type": "string", "pattern": interpolatedForm, "description": "A value with ${…} in it."},
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(root)
	return out.Bytes(), err
}

// structSchema describes a mapping with fixed keys. v has the defaults.
func structSchema(v reflect.Value) object {
	properties := object{}
	var required []string
	for _, f := range fieldsOf(v.Type()) {
		if f.later {
			continue
		}
		s := valueSchema(v.Field(f.index), f.tag)
		s["description"] = f.tag.Get("doc")
		if d, ok := defaultOf(v.Field(f.index), f.tag); ok {
			s["default"] = d
		}
		properties[f.key] = s
		if f.tag.Get("required") != "" {
			required = append(required, f.key)
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		s["required"] = required
	}
	if choices := choicesOf(v.Type()); choices != nil {
		s["oneOf"] = choices
	}
	return s
}

// choicesOf returns the keys of which exactly one is needed.
func choicesOf(t reflect.Type) []object {
	keys := map[reflect.Type][]string{
		reflect.TypeFor[Handler](): kinds,
		reflect.TypeFor[Route]():   {"handler", "handlers"},
	}[t]
	var choices []object
	for _, key := range keys {
		choices = append(choices, object{"required": []string{key}})
	}
	return choices
}

// valueSchema describes the value of a key. v is its default.
func valueSchema(v reflect.Value, tag reflect.StructTag) object {
	switch v.Kind() {
	case reflect.Pointer:
		return structSchema(fresh(v.Type().Elem()))
	case reflect.Struct:
		return structSchema(v)
	case reflect.Map:
		return mapSchema(v.Type(), tag)
	case reflect.Slice:
		element := valueSchema(fresh(v.Type().Elem()), tag)
		list := object{"type": "array", "items": element, "minItems": 1}
		if tag.Get("single") != "" {
			return object{"anyOf": []object{element, list}}
		}
		return list
	default:
		return scalarSchema(v.Type(), tag)
	}
}

func mapSchema(t reflect.Type, tag reflect.StructTag) object {
	values := valueSchema(fresh(t.Elem()), "")
	if t.Elem().Kind() == reflect.String {
		// YAML reads a bare 1.10 as a number, which is text enough here.
		values = object{"type": []string{"string", "number", "boolean"}}
	}
	s := object{"type": "object", "additionalProperties": values}
	if p := forms[tag.Get("keys")].pattern; p != nil {
		s["propertyNames"] = object{"pattern": p.String()}
	}
	return s
}

// scalarSchema describes a single value, which may also be a ${…}.
func scalarSchema(t reflect.Type, tag reflect.StructTag) object {
	either := []object{plainSchema(t, tag), {"$ref": "#/$defs/interpolated"}}
	if word := tag.Get("zero"); word != "" {
		either = append(either, object{"const": word})
	}
	if either[0]["type"] == "string" && len(either[0]) == 1 {
		return either[0] // any text will do
	}
	return object{"anyOf": either}
}

func plainSchema(t reflect.Type, tag reflect.StructTag) object {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return object{"$ref": "#/$defs/duration"}
	case t == reflect.TypeFor[Size]():
		return object{"$ref": "#/$defs/size"}
	case t.Kind() == reflect.Int:
		return ranged("integer", tag)
	case t.Kind() == reflect.Float64:
		return ranged("number", tag)
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case tag.Get("enum") != "":
		return object{"enum": words(tag, "enum")}
	}
	// YAML reads a bare 404 as a number, which is text enough here.
	if tag.Get("form") == "code" {
		return object{"anyOf": []object{
			{"type": "string", "pattern": forms["code"].pattern.String()},
			{"type": "integer", "minimum": 300, "maximum": 599},
		}}
	}
	s := object{"type": "string"}
	if p := forms[tag.Get("form")].pattern; p != nil {
		s["pattern"] = p.String()
	}
	return s
}

func ranged(name string, tag reflect.StructTag) object {
	s := object{"type": name}
	if least, err := strconv.ParseFloat(tag.Get("min"), 64); err == nil {
		s["minimum"] = least
	}
	if most, err := strconv.ParseFloat(tag.Get("max"), 64); err == nil {
		s["maximum"] = most
	}
	return s
}

// defaultOf returns a default as the schema and the reference show it.
func defaultOf(v reflect.Value, tag reflect.StructTag) (any, bool) {
	switch x := v.Interface().(type) {
	case string:
		if x == "" && tag.Get("zero") != "" {
			return tag.Get("zero"), true
		}
		return x, x != ""
	case time.Duration:
		if x == 0 && tag.Get("zero") != "" {
			return tag.Get("zero"), true
		}
		unset := x == 0 && strings.HasSuffix(tag.Get("yaml"), ",omitempty") // its doc says what that means
		return formatDuration(x), tag.Get("required") == "" && !unset
	case Size:
		if x == 0 && tag.Get("zero") != "" {
			return tag.Get("zero"), true
		}
		return x.String(), true
	case int:
		return x, x != 0 || !strings.HasSuffix(tag.Get("yaml"), ",omitempty")
	case float64, bool:
		return x, true
	case []string:
		return x, x != nil
	default:
		return nil, false
	}
}
