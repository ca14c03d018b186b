package api_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocsNameEverything holds docs/api.md against what is served.
func TestDocsNameEverything(t *testing.T) {
	b, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(b)
	d, raw := describe(t, serve(newFake()))
	for path, item := range d.Paths {
		for method, op := range item {
			if !strings.Contains(docs, path+"`") {
				t.Errorf("%s %s is not in docs/api.md", method, path)
			}
			for _, p := range op.Parameters {
				if !strings.Contains(docs, p.Name) {
					t.Errorf("%s %s: parameter %s is not in docs/api.md", method, path, p.Name)
				}
			}
		}
	}
	for name, schema := range raw["components"].(map[string]any)["schemas"].(map[string]any) {
		properties, _ := schema.(map[string]any)["properties"].(map[string]any)
		for field := range properties {
			if !strings.Contains(docs, "`"+field+"`") && !strings.Contains(docs, `"`+field+`"`) {
				t.Errorf("%s.%s is not in docs/api.md", name, field)
			}
		}
	}
}
