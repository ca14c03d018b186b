package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestNoSecretLeaks puts a secret into every value of the files, one at a
// time, alone and inside other text, and looks for it in all that comes out.
func TestNoSecretLeaks(t *testing.T) {
	secrets := map[string]string{
		"plain":  "s3cr3tValue",                // fits almost anywhere, so the file loads
		"odd":    "s3cr3t:p@ss/w%rd?x=1#y z",   // fits nowhere, so there are problems
		"lines":  "s3cr3t line\nsecond s3cr3t", // changes when it is quoted
		"number": "7353",
	}
	folder := t.TempDir()
	for name, secret := range secrets {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forms := []string{"%s", "http://user:%s@127.0.0.1/", "http://127.0.0.1/?a=%s", "pre-%s-post", "Bearer %s", "%s.a"}
	tried := 0
	t.Chdir("testdata/good")
	for _, file := range []string{"everything.yaml", "external.yaml", "automatic-streams.yaml", "variables.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, secret := range secrets {
			for _, form := range forms {
				if form != "%s" && (file != "everything.yaml" || name == "lines" || name == "number") {
					continue
				}
				value := fmt.Sprintf(form, "${file:"+filepath.Join(folder, name)+"}")
				for _, mutant := range replaceEach(t, data, value) {
					tried++
					noLeak(t, mutant, secret)
				}
			}
		}
	}
	if tried < 1000 {
		t.Errorf("tried %d files; want more", tried)
	}
}

// replaceEach returns the file as many times as it has values, with another of
// them replaced each time.
func replaceEach(t *testing.T, data []byte, value string) (mutants [][]byte) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var values []*yaml.Node
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		for i, child := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				walk(child)
			}
		}
		if n.Kind == yaml.ScalarNode {
			values = append(values, n)
		}
	}
	walk(&doc)
	for _, n := range values {
		before := *n
		*n = yaml.Node{Kind: yaml.ScalarNode, Value: value, Style: yaml.SingleQuotedStyle, Anchor: n.Anchor}
		mutant, err := yaml.Marshal(&doc)
		if err != nil {
			t.Fatal(err)
		}
		*n = before
		mutants = append(mutants, mutant)
	}
	return mutants
}

func noLeak(t *testing.T, file []byte, secret string) {
	t.Helper()
	var out string
	c, err := Parse("f.yaml", file, env)
	if err != nil {
		out = err.Error()
	} else {
		effective, err := c.Redacted()
		if err != nil {
			t.Fatal(err)
		}
		out = string(effective)
	}
	// Quoting changes a secret of several lines: any of its lines is one too many.
	if slices.ContainsFunc(strings.Split(secret, "\n"), func(line string) bool { return strings.Contains(out, line) }) {
		t.Errorf("%q is in:\n%s\nfile:\n%s", secret, out, file)
	}
}

func TestCredentialsInURLsAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		"nats://a:4222":                     "nats://a:4222",
		"nats://bob:pw@a:4222":              "nats://<redacted>@a:4222",
		"nats://token@a:4222,tls://x:y@b":   "nats://<redacted>@a:4222,tls://<redacted>@b",
		"nats://bob:p/w@a:4222":             "nats://<redacted>@a:4222",
		"http://h/path?email=a@b":           "http://h/path?email=a@b",
		"http://h/?access_token=x&page=1":   "http://h/?access_token=<redacted>&page=1",
		"http://h/?page=1&Secret=a%20b#f":   "http://h/?page=1&Secret=<redacted>#f",
		"no url, but bob@example.org":       "no url, but bob@example.org",
		"http://u:p%zz@h/":                  "http://<redacted>@h/",
		"Post \"http://u:pw@h/a\": refused": "Post \"http://<redacted>@h/a\": refused",
	} {
		if got := hideURL(in); got != want {
			t.Errorf("hideURL(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestRedactHidesSecretsInAnyText(t *testing.T) {
	t.Chdir("testdata/good")
	c, err := Load("everything.yaml", env)
	if err != nil {
		t.Fatal(err)
	}
	const text = `Post "http://u:pw@h/": header "Bearer tok-5f2c9a" refused`
	if got, want := c.Redact(text), `Post "http://<redacted>@h/": header "<redacted>" refused`; got != want {
		t.Errorf("Redact = %s; want %s", got, want)
	}
}
