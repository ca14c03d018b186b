// Package eventd_test holds the checks that concern the whole module.
package eventd_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/eventd-io/eventd/"

// TestImports compares what the packages import of each other with the list in
// ARCHITECTURE.md.
func TestImports(t *testing.T) {
	allowed := drawing(t)
	for pkg, imports := range listImports(t) {
		want, drawn := allowed[pkg]
		if !drawn {
			t.Errorf("package %s is not in the drawing of ARCHITECTURE.md", pkg)
			continue
		}
		for _, i := range imports {
			if !slices.Contains(want, i) {
				t.Errorf("%s imports %s; the drawing allows %v", pkg, i, want)
			}
		}
	}
}

// TestEventIsTheLeaf keeps third-party code out of the data model.
func TestEventIsTheLeaf(t *testing.T) {
	out := goList(t, "-f", `{{join .Imports "\n"}}`, "./event")
	for _, i := range strings.Fields(out) {
		if strings.Contains(i, ".") {
			t.Errorf("event imports %s; want the standard library only", i)
		}
	}
}

// drawing reads the list of allowed imports.
func drawing(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(text), "<!-- imports -->\n```\n")
	list, _, closed := strings.Cut(list, "```")
	if !found || !closed {
		t.Fatal("ARCHITECTURE.md has no list of imports")
	}
	allowed := map[string][]string{}
	for line := range strings.Lines(list) {
		pkg, imports, _ := strings.Cut(line, ":")
		allowed[strings.TrimSpace(pkg)] = strings.Fields(imports)
	}
	return allowed
}

// listImports returns what each package of the product imports of this module.
// Examples and packages that only hold tests or files are left out.
func listImports(t *testing.T) map[string][]string {
	t.Helper()
	out := goList(t, "-f", `{{if .GoFiles}}{{.ImportPath}} {{join .Imports " "}}{{end}}`, "./...")
	list := map[string][]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		pkg := strings.TrimPrefix(fields[0], module)
		if strings.HasPrefix(pkg, "examples/") || strings.HasPrefix(pkg, "deploy") {
			continue
		}
		list[pkg] = nil
		for _, i := range fields[1:] {
			if ours, ok := strings.CutPrefix(i, module); ok {
				list[pkg] = append(list[pkg], ours)
			}
		}
	}
	if len(list) < 8 {
		t.Fatalf("go list names %d packages; that cannot be all", len(list))
	}
	return list
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return string(out)
}
