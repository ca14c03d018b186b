package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

const order = `{
  "type": "object",
  "required": ["id", "amount"],
  "properties": {
    "id": {"type": "string", "minLength": 1},
    "amount": {"type": "number", "minimum": 0, "maximum": 1e6},
    "lines": {"type": "array", "items": {"type": "object", "required": ["sku"], "properties": {"n": {"type": "integer"}}}},
    "a/b": {"type": "boolean"}
  }
}`

// write puts files into a folder and returns the path of the first.
func write(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

func load(t testing.TB, files ...string) *Schema {
	t.Helper()
	s, err := Load(write(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckNamesThePaths(t *testing.T) {
	s := load(t, "order.json", order)
	for _, c := range []struct{ payload, want string }{
		{`{"id":"1","amount":5}`, ""},
		{` {"id":"1","amount":1e6,"lines":[{"sku":"x","n":3.0}]} `, ""},
		{`{"id":"1"}`, "payload: missing property 'amount'"},
		{`{"id":"1","amount":"5"}`, "/amount: got string, want number"},
		{`{"id":"","amount":-1,"lines":[{"sku":1},{"n":1.5}]}`,
			"/amount: minimum: got -1, want 0; /id: minLength: got 0, want 1; " +
				"/lines/1: missing property 'sku'; /lines/1/n: got number, want integer"},
		{`{"id":"1","amount":5,"a/b":1}`, "/a~1b: got number, want boolean"},
		{`[]`, "payload: got array, want object"},
		{``, "it is empty, and not JSON"},
		{" \n", "it is empty, and not JSON"},
		{`plain text`, "it is not JSON: invalid character 'p' looking for beginning of value"},
		{`{"id":"1","amount":5}{}`, "it is not JSON: something follows the value"},
		{`{"id":"1","amount":5} x`, "it is not JSON: something follows the value"},
		{`{"id":"1","amount":9007199254740993000}`, "/amount: maximum: got 9.007199254740993×10¹⁸, want 1×10⁰⁶"},
	} {
		if got := s.Check([]byte(c.payload)); got != c.want {
			t.Errorf("Check(%s)\n got %s\nwant %s", c.payload, got, c.want)
		}
	}
}

func TestBigIntegersAreExact(t *testing.T) {
	s := load(t, "s.json", `{"maximum": 9007199254740992}`)
	if got := s.Check([]byte("9007199254740993")); got == "" {
		t.Error("2^53+1 fits a maximum of 2^53")
	}
	if got := s.Check([]byte("9007199254740992")); got != "" {
		t.Errorf("2^53 does not fit: %s", got)
	}
}

// TestDetailIsBounded: whatever a payload has, what is said of it is one short
// line of valid text.
func TestDetailIsBounded(t *testing.T) {
	s := load(t, "s.json", `{"additionalProperties": {"type": "string", "pattern": "^[a-z]{3}$"}, "items": {"type": "string"}}`)
	many := "[" + strings.Repeat("1,", 5000) + "1]"
	keys := `{"` + strings.Repeat("k", 5000) + `":1,"` + strings.Repeat("ü", 300) + `":2,"a\nb` + "\u2028" + `":3,"c":"` + strings.Repeat("x", 9000) + `"}`
	for _, payload := range []string{many, keys, "{\"\xff\":1}", strings.Repeat("x", 3000)} {
		got := s.Check([]byte(payload))
		if got == "" || len(got) > MaxDetail || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
	if got := s.Check([]byte(many)); !strings.HasPrefix(got, "/0: got number, want string; /1: ") || !strings.HasSuffix(got, "; and 4991 more") {
		t.Errorf("got %s", got)
	}
}

// TestPayloadsThatCost: numbers that cannot be computed with, nests, and
// payloads with very many flaws end in a verdict, in little memory.
func TestPayloadsThatCost(t *testing.T) {
	s := load(t, "s.json", `{"type": ["array", "integer"], "maximum": 10, "multipleOf": 2, "items": {"$ref": "#"}}`)
	nest := func(n int) string { return strings.Repeat("[1,", n) + "[]" + strings.Repeat("]", n) }
	for _, c := range []struct{ name, payload, want string }{
		{"exponent", "1e99999999", "it has a number of more than 400 digits"},
		{"small", "1e-99999999", "it has a number of more than 400 digits"},
		{"exponent beyond int", "1e99999999999999999999", "it has a number of more than 400 digits"},
		{"digits", strings.Repeat("7", 100_000), "it has a number of more than 400 digits"},
		{"nested", nest(5000), "it is nested deeper than 100 levels"},
		{"beyond the parser", nest(20_000), "it is not JSON: invalid character '[' exceeded max depth"},
		{"many flaws", "[" + strings.Repeat("1,", 1<<16) + "1]", "something in it is wrong (what, is listed for payloads of up to 131072 bytes)"},
		{"large and right", "[" + strings.Repeat("2,", 1<<16) + "2]", ""},
	} {
		if got := s.Check([]byte(c.payload)); got != c.want {
			t.Errorf("%s: got %s; want %s", c.name, got, c.want)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	one := nest(95)
	n := listed / (len(one) + 1)
	s.Check([]byte("[" + strings.Repeat(one+",", n-1) + one + "]"))
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 250 {
		t.Errorf("%d flaws deep down took %d MiB; want at most 250", n*95, used)
	}
}

func TestReferences(t *testing.T) {
	s := load(t, "order.json", `{"properties": {"who": {"$ref": "parts/person.json#/$defs/name"}}}`,
		"parts/person.json", `{"$defs": {"name": {"$ref": "../text.json"}}}`, "text.json", `{"type": "string"}`)
	if got, want := s.Check([]byte(`{"who": 1}`)), "/who: got number, want string"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	outside := write(t, "outside.json", `{}`)
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"not JSON", []string{"s.json", "{\n  \"type\": \"object\",\n}"}, "s.json: line 3: not JSON: invalid character '}' looking for beginning of object key string"},
		{"empty", []string{"s.json", ""}, "s.json: not JSON: EOF"},
		{"two values", []string{"s.json", "{} {}"}, "s.json: not JSON: invalid character after top-level value"},
		{"no schema", []string{"s.json", `{"type": "objct", "required": "id"}`}, "s.json is no JSON Schema: /required: got string, want array; /type: "},
		{"a list", []string{"s.json", `[]`}, "s.json is no JSON Schema: "},
		{"expression", []string{"s.json", `{"pattern": "(?=x)"}`}, "s.json is no JSON Schema: /pattern: '(?=x)' is not valid regex"},
		{"network", []string{"s.json", `{"$ref": "https://127.0.0.1/x.json"}`}, "https://127.0.0.1/x.json: nothing is fetched"},
		{"network by id", []string{"s.json", `{"$id": "http://example.com/s.json", "$ref": "x.json"}`}, "http://example.com/x.json: nothing is fetched"},
		{"meta schema from the network", []string{"s.json", `{"$schema": "https://example.com/meta"}`}, "https://example.com/meta: nothing is fetched"},
		{"missing", []string{"s.json", `{"$ref": "x.json"}`}, "x.json: no such file or directory"},
		{"outside", []string{"s.json", `{"$ref": "file://` + outside + `"}`}, "outside.json: it is outside of the folder of the schema"},
		{"above", []string{"s.json", `{"$ref": "../x.json"}`}, "x.json: it is outside of the folder of the schema"},
		{"folder", []string{"s.json", `{"$ref": "sub"}`, "sub/x", ""}, "sub: it is not a regular file"},
		{"pointer", []string{"s.json", `{"$ref": "#/$defs/none"}`}, "/$defs/none"},
	} {
		_, err := Load(write(t, c.files...))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %s", c.name, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.json")); err == nil || err.Error() != "none.json: no such file or directory" {
		t.Errorf("Load of no file: %v", err)
	}
}

func TestLinkOutOfTheFolder(t *testing.T) {
	outside := write(t, "outside.json", `{}`)
	path := write(t, "s.json", `{"$ref": "link.json"}`)
	if err := os.Symlink(outside, filepath.Join(filepath.Dir(path), "link.json")); err != nil {
		t.Skip(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "link.json: ") {
		t.Errorf("Load = %v; want a refusal of the link", err)
	}
}

// TestMountedFolder: a folder as Kubernetes mounts it, where each file is a link to
// one behind a link that changes.
func TestMountedFolder(t *testing.T) {
	path := write(t, "..v1/s.json", `{"$ref": "x.json"}`, "..v1/x.json", `{"type": "string"}`)
	dir := filepath.Dir(filepath.Dir(path))
	for link, to := range map[string]string{"..data": "..v1", "s.json": "..data/s.json", "x.json": "..data/x.json"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip(err)
		}
	}
	s, err := Load(filepath.Join(dir, "s.json"))
	if err != nil || s.Check([]byte("1")) == "" {
		t.Errorf("Load: %v", err)
	}
}

func TestDrafts(t *testing.T) {
	for draft, want := range map[string]string{
		"": "", // formats are annotations
		`"$schema": "https://json-schema.org/draft/2020-12/schema",`: "",
		`"$schema": "http://json-schema.org/draft-07/schema#",`:      "payload: 'x' is not valid date: ",
	} {
		s := load(t, "s.json", `{`+draft+`"format": "date"}`)
		if got := s.Check([]byte(`"x"`)); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %s; want %s", draft, got, want)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	s := load(t, "order.json", order)
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			for n := range 100 {
				good, bad := fmt.Sprintf(`{"id":"%d","amount":%d}`, i, n), fmt.Sprintf(`{"id":%d,"amount":%d}`, i, n)
				if got := s.Check([]byte(good)); got != "" {
					t.Errorf("%s: %s", good, got)
				}
				if got := s.Check([]byte(bad)); got != "/id: got number, want string" {
					t.Errorf("%s: %s", bad, got)
				}
			}
		})
	}
	running.Wait()
}

// FuzzCheck: no payload brings anything down, and what does not fit is told.
func FuzzCheck(f *testing.F) {
	s := load(f, "order.json", order)
	for _, seed := range []string{`{"id":"1","amount":5}`, `{"amount":1e999}`, `[[[]]]`, `{"lines":[{"n":1e-5}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got := s.Check(payload)
		if len(got) > MaxDetail || !utf8.ValidString(got) || strings.Contains(got, "cannot be checked") {
			t.Errorf("Check(%q) = %q", payload, got)
		}
	})
}
