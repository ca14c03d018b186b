package metrics_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/metrics.md says of each metric what is true.
func TestDocsListEveryMetric(t *testing.T) {
	b, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(eventd_\\w+)` \\| (\\w+) \\|([^|]*)\\| [^|]{10,} \\| [^|]{5,} \\|$")
	for _, m := range row.FindAllStringSubmatch(string(b), -1) {
		labels := strings.Fields(strings.ReplaceAll(m[3], "`", ""))
		slices.Sort(labels)
		documented[m[1]] = strings.Join(append([]string{m[2]}, labels...), " ")
	}
	for name, want := range contract {
		if got := documented[name]; got != want {
			t.Errorf("docs/metrics.md: %s is %q; want %q", name, got, want)
		}
	}
	for name := range documented {
		if contract[name] == "" {
			t.Errorf("docs/metrics.md: there is no %s", name)
		}
	}
}
