package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse: whatever the file is, it either loads and means the same when
// what is in effect is loaded again, or each of its problems is one line that
// points into the file. In no case does the secret come out.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(names) < 40 {
		f.Fatalf("%d seeds, %v", len(names), err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	const secret = "env-tok-77" // of ${API_TOKEN}
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte(secret)) {
			t.Skip("not a secret")
		}
		c, err := Parse("testdata/good/f.yaml", data, env)
		if err != nil {
			checkProblems(t, data, err)
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the secret is in %v", err)
			}
			return
		}
		effective, err := c.Redacted()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(effective, []byte(secret)) {
			t.Errorf("the secret is in %s", effective)
		}
		if bytes.Contains(effective, []byte(redacted)) {
			return
		}
		again, err := Parse("again.yaml", effective, env)
		if err != nil {
			t.Fatalf("what is in effect does not load: %v\n%s", err, effective)
		}
		if second, _ := again.Redacted(); !bytes.Equal(second, effective) {
			t.Errorf("loaded again:\n%s\nbefore:\n%s", second, effective)
		}
	})
}

func checkProblems(t *testing.T, data []byte, err error) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("%T %v; want Problems", err, err)
	}
	rows := strings.Split(string(data), "\n")
	for _, i := range problems {
		if i.Line < 1 || i.Line > len(rows) || i.Column < 1 || i.Column > len(rows[i.Line-1])+1 {
			t.Errorf("%v points outside of the file of %d lines", i, len(rows))
		}
		if i.Message == "" || strings.ContainsAny(i.String(), "\r\n\x00") {
			t.Errorf("%q is not one line", i.String())
		}
		top := strings.FieldsFunc(i.Path, func(r rune) bool { return r == '.' || r == '[' })
		if i.Path != "" && i.Path[0] != '"' && i.Path != "service" && !strings.Contains(string(data), strings.TrimSuffix(top[0], "…")) {
			t.Errorf("%v: the file has no %s", i, top[0])
		}
	}
}
