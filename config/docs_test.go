package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const reference = "../docs/configuration.md"

// block is a mapping with fixed keys, and where it stands in the file.
type block struct {
	path     string // handlers.NAME
	defaults reflect.Value
}

// blocks returns every mapping of the file, in its order.
func blocks() []block {
	var all []block
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			walk(path, fresh(v.Type().Elem()))
		case reflect.Map:
			walk(path+".NAME", fresh(v.Type().Elem()))
		case reflect.Slice:
			walk(path+"[]", fresh(v.Type().Elem()))
		case reflect.Struct:
			if len(fieldsOf(v.Type())) == 0 {
				return
			}
			all = append(all, block{path, v})
			for _, f := range fieldsOf(v.Type()) {
				if !f.later {
					walk(join(path, f.key), v.Field(f.index))
				}
			}
		}
	}
	walk("", reflect.ValueOf(*initial()))
	return all
}

// table returns the rows of the reference for a block.
func (b block) table() string {
	rows := "| key | value | default | meaning |\n|---|---|---|---|\n"
	for _, f := range fieldsOf(b.defaults.Type()) {
		if f.later {
			continue
		}
		v := b.defaults.Field(f.index)
		meaning := f.tag.Get("doc")
		if f.tag.Get("restart") != "" {
			meaning += " A change needs a restart."
		}
		rows += fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.key, b.values(f, v.Type()), defaultText(v, f.tag), meaning)
	}
	return rows
}

func defaultText(v reflect.Value, tag reflect.StructTag) string {
	standard, ok := defaultOf(v, tag)
	switch list, isList := standard.([]string); {
	case tag.Get("required") != "":
		return "**required**"
	case isList:
		return "`[" + strings.Join(list, ", ") + "]`"
	case ok:
		return fmt.Sprintf("`%v`", standard)
	default:
		return ""
	}
}

// values says what a key takes.
func (b block) values(f field, t reflect.Type) string {
	at := strings.TrimPrefix(b.path+"."+f.key, ".")
	switch t.Kind() {
	case reflect.Pointer:
		return b.values(f, t.Elem())
	case reflect.Struct:
		if len(fieldsOf(t)) == 0 {
			return "`{}`"
		}
		return "a mapping: " + section(at)
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return "a mapping of names to texts"
		}
		return "a mapping of names: " + section(at+".NAME")
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "a list: " + section(at+"[]")
		}
		if f.tag.Get("single") != "" {
			return scalarText(t.Elem(), f.tag) + ", or a list"
		}
		return "a list: " + scalarText(t.Elem(), f.tag)
	default:
		return scalarText(t, f.tag)
	}
}

// section links to the section of a block.
func section(path string) string {
	anchor := strings.ToLower(strings.NewReplacer(".", "", "[", "", "]", "").Replace(path))
	return "[`" + path + "`](#" + anchor + ")"
}

var formTexts = map[string]string{
	"": "text", "name": "a name", "route": "a name", "service": "a service", "stream": "the name of a stream",
	"subject": "a subject, with wildcards", "capture": "a subject, with wildcards", "literal": "a subject",
	"type": "a message type", "glob": "a message type, with `*`", "httpurl": "a URL", "natsurl": "a URL",
	"listen": "`host:port`", "path": "a path", "host": "a host", "socket": "a path", "code": "a code or class", "media": "a content type",
}

// scalarText says what a single value is.
func scalarText(t reflect.Type, tag reflect.StructTag) string {
	text := expected(t, "")
	switch {
	case tag.Get("enum") != "":
		text = "`" + strings.Join(words(tag, "enum"), "`, `") + "`"
	case tag.Get("file") != "":
		text = "a file"
	case t.Kind() == reflect.String:
		text = formTexts[tag.Get("form")]
	case t == reflect.TypeFor[Size]():
		text = "a size"
	case t.Kind() == reflect.Int64:
		text = "a duration"
	}
	if least, most := tag.Get("min"), tag.Get("max"); most != "" {
		text += ", " + least + " to " + most
	} else if least != "" {
		text += ", at least " + least
	}
	if tag.Get("zero") != "" {
		text += ", or `" + tag.Get("zero") + "`"
	}
	return text
}

// laterList returns the keys and values that are not supported yet.
func laterList() string {
	var list string
	for _, b := range blocks() {
		for _, f := range fieldsOf(b.defaults.Type()) {
			at := strings.TrimPrefix(b.path+"."+f.key, ".")
			if f.later {
				list += "- `" + at + "`\n"
			}
			for _, value := range words(f.tag, "later") {
				list += "- `" + at + ": " + value + "`\n"
			}
		}
	}
	return list
}

// TestReferenceIsComplete compares the tables of the reference with the
// structs; with -update it writes them.
func TestReferenceIsComplete(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, b := range blocks() {
		text = replaceSection(t, text, strings.TrimSpace("keys "+b.path), b.table())
	}
	text = replaceSection(t, text, "later", laterList())
	if *update {
		if err := os.WriteFile(reference, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text != string(data) && !*update {
		t.Errorf("%s does not say what the structs do; write it anew with go test ./config -update", reference)
	}
}

// replaceSection puts content between the marks of a section.
func replaceSection(t *testing.T, text, name, content string) string {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
	head, rest, found := strings.Cut(text, begin)
	_, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Errorf("%s has no section %q", reference, name)
		return text
	}
	return head + begin + content + end + tail
}

var yamlBlock = regexp.MustCompile("(?ms)^(<!-- complete file -->\n)?```yaml\n(.*?)^```$")

// TestReferenceExamplesLoad loads the files in the reference. Of those that
// show a part only, the rest is that of the smallest file.
func TestReferenceExamplesLoad(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	complete := 0
	schema := compileSchema(t)
	for i, m := range yamlBlock.FindAllStringSubmatch(string(data), -1) {
		text := m[2]
		if m[1] != "" {
			complete++
		} else {
			text = completed(t, text)
		}
		text = withSecrets(t, text)
		if _, err := Parse("docs.yaml", []byte(text), env); err != nil {
			t.Errorf("example %d: %v\n%s", i+1, err, text)
		}
		file := filepath.Join(t.TempDir(), "docs.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schema, file); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	if complete < 2 {
		t.Errorf("%d complete files; want the smallest and the annotated one", complete)
	}
}

// completed adds the keys of the smallest file that a part does not have.
func completed(t *testing.T, part string) string {
	t.Helper()
	var file, rest map[string]any
	if err := yaml.Unmarshal([]byte(part), &file); err != nil {
		t.Fatalf("%v\n%s", err, part)
	}
	if err := yaml.Unmarshal([]byte(smallest), &rest); err != nil {
		t.Fatal(err)
	}
	if handlers, ok := file["handlers"].(map[string]any); ok {
		handlers["service-a"] = rest["handlers"].(map[string]any)["service-a"]
	}
	for key, value := range rest {
		if _, ok := file[key]; !ok {
			file[key] = value
		}
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var secretFile = regexp.MustCompile(`/(?:run/secrets|etc/eventd)/([a-z.-]+)`)

// withSecrets gives an example the files that it names.
func withSecrets(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	for _, m := range secretFile.FindAllStringSubmatch(text, -1) {
		if err := os.WriteFile(filepath.Join(folder, m[1]), []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return strings.NewReplacer("/run/secrets", folder, "/etc/eventd", folder).Replace(text)
}

// TestReferenceNamesNoOtherKeys: every key in the sections exists.
func TestReferenceNamesNoOtherKeys(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, b := range blocks() {
		known = append(known, "keys "+b.path)
	}
	for _, m := range regexp.MustCompile(`<!-- (keys[^>]*) -->`).FindAllStringSubmatch(string(data), -1) {
		if m[1] != "keys" && !slices.Contains(known, m[1]) {
			t.Errorf("section %q is of no block", m[1])
		}
	}
}
