package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// env is the environment of the files under testdata.
func env(name string) (string, bool) {
	v, ok := map[string]string{
		"EMPTY": "", "N": "8", "WORD": "word", "LIST": "[A, B]", "API_TOKEN": "env-tok-77", "FORMAT": "console",
		"INJECT": "x, log: {level: debug}\nservice: EVIL", "TRUE": "true", "TIMEOUT": "7s", "HALF": "0.5",
	}[name]
	return v, ok
}

// files returns the YAML files of a folder under testdata, and goes there.
func files(t *testing.T, folder string) []string {
	t.Helper()
	t.Chdir(filepath.Join("testdata", folder))
	names, err := filepath.Glob("*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	return names
}

func TestBadFilesGiveTheExactMessages(t *testing.T) {
	names := files(t, "bad")
	if len(names) < 40 {
		t.Errorf("%d bad files; want at least 40", len(names))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c, err := Load(name, env)
			var problems Problems
			if c != nil || !errors.As(err, &problems) {
				t.Fatalf("Load = %v, %v; want Problems", c, err)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestGoodFilesLoad compares what the files mean with what is written beside
// them, and looks whether that means the same when it is loaded.
func TestGoodFilesLoad(t *testing.T) {
	for _, name := range files(t, "good") {
		t.Run(name, func(t *testing.T) {
			c, err := Load(name, env)
			if err != nil {
				t.Fatal(err)
			}
			effective, err := c.Redacted()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".effective", withoutFolder(t, effective))
			if strings.Contains(string(effective), redacted) {
				return
			}
			again, err := Parse("again.yaml", effective, env)
			if err != nil {
				t.Fatalf("what is in effect does not load:\n%v\n%s", err, effective)
			}
			if second, _ := again.Redacted(); string(second) != string(effective) {
				t.Errorf("loaded again:\n%s\nbefore:\n%s", second, effective)
			}
			if keys := NeedsRestart(c, again); len(keys) > 0 && !strings.Contains(string(effective), "streams:") {
				t.Errorf("NeedsRestart = %v; want none", keys)
			}
		})
	}
}

// withoutFolder makes absolute paths the same on every machine.
func withoutFolder(t *testing.T, text []byte) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), filepath.Dir(here), "/testdata")
}
