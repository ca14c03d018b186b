package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("eventd.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("eventd.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate holds a YAML file against the schema, as an editor does.
func validate(t *testing.T, schema *jsonschema.Schema, file string) error {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}

func TestGoodFilesFitTheSchema(t *testing.T) {
	schema := compileSchema(t)
	examples, err := filepath.Glob("../examples/*/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	good, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(good) < 10 {
		t.Fatalf("%d good files, %v", len(good), err)
	}
	for _, name := range append(good, examples...) {
		if err := validate(t, schema, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The streams that are added and all defaults fit as well.
	effective, err := filepath.Glob("testdata/good/*.effective")
	if err != nil || len(effective) != len(good) {
		t.Fatalf("%d effective files, %v", len(effective), err)
	}
	for _, name := range effective {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(redacted)) {
			continue
		}
		if err := validate(t, schema, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExamplesLoad: what we ship as an example works.
func TestExamplesLoad(t *testing.T) {
	examples, err := filepath.Glob("../examples/*/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range examples {
		if _, err := Load(name, func(string) (string, bool) { return "", false }); err != nil {
			t.Error(err)
		}
	}
}

// TestSchemaRefuses: what can be seen without looking at two places at once is
// underlined in the editor already.
func TestSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	for _, name := range strings.Fields(`choices durations handler-kinds handler-misspelt-kind later-keys
		later-keys-of-routes message-types names no-values not-a-mapping quoted-values ranges
		required retry-on route-targets subjects unix-sockets unknown-keys unknown-keys-unlike-any
		routes-that-remember wrong-types wrong-types-in-routes`) {
		if err := validate(t, schema, filepath.Join("testdata/bad", name+".yaml")); err == nil {
			t.Errorf("%s.yaml fits the schema", name)
		}
	}
}

// TestSchemaDescribesEveryKey that can be used, and no other.
func TestSchemaDescribesEveryKey(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	keys := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for _, element := range v {
				walk(path, element)
			}
		case object:
			properties, _ := v["properties"].(object)
			for _, key := range slices.Sorted(maps.Keys(properties)) {
				keys++
				p := properties[key].(object)
				if d, _ := p["description"].(string); len(d) < 10 || !strings.HasSuffix(d, ".") {
					t.Errorf("%s.%s: description %q", path, key, d)
				}
				if properties != nil && v["additionalProperties"] != false {
					t.Errorf("%s allows other keys", path)
				}
				walk(path+"."+key, p)
			}
			for _, key := range []string{"items", "anyOf", "additionalProperties"} {
				walk(path, v[key])
			}
		}
	}
	walk("", root)
	if keys < 70 {
		t.Errorf("%d keys; want all", keys)
	}
	for _, later := range []string{"tracing", "order_by", "jetstream"} {
		if bytes.Contains(text, []byte(`"`+later+`"`)) {
			t.Errorf("%s is not supported yet, but in the schema", later)
		}
	}
}
