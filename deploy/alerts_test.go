package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"
	"time"

	"gopkg.in/yaml.v3"
)

type rules struct {
	Groups []struct {
		Name  string  `yaml:"name"`
		Rules []alert `yaml:"rules"`
	} `yaml:"groups"`
}

type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func loadAlerts(t *testing.T) (list []alert) {
	t.Helper()
	f, err := os.Open("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	var r rules
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	for _, g := range r.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) < 10 {
		t.Fatalf("%d alerts; that cannot be all", len(list))
	}
	return list
}

func TestAlertsAskForWhatThereIs(t *testing.T) {
	known := exposed(t)
	for _, a := range loadAlerts(t) {
		labels, problems := check(a.Expr, known)
		for _, problem := range problems {
			t.Errorf("%s: %s\n\t%s", a.Alert, problem, a.Expr)
		}
		for name, annotation := range a.Annotations {
			for _, l := range annotationLabels(t, a.Alert+" "+name, annotation) {
				if !slices.Contains(labels, l) {
					t.Errorf("%s %s asks for label %s; there are %v", a.Alert, name, l, labels)
				}
			}
		}
	}
}

// annotationLabels parses an annotation as Prometheus does and returns the
// labels it asks for.
func annotationLabels(t *testing.T, name, annotation string) (labels []string) {
	t.Helper()
	same := func(v any) any { return v }
	tmpl, err := template.New(name).Funcs(template.FuncMap{
		"humanize": same, "humanizeDuration": same, "humanizePercentage": same,
	}).Parse("{{$labels := .}}{{$value := .}}" + annotation)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	for _, n := range tmpl.Root.Nodes {
		action, ok := n.(*parse.ActionNode)
		if !ok {
			continue
		}
		for _, c := range action.Pipe.Cmds {
			for _, arg := range c.Args {
				if v, ok := arg.(*parse.VariableNode); ok && v.Ident[0] == "$labels" && len(v.Ident) > 1 {
					labels = append(labels, v.Ident[1])
				}
			}
		}
	}
	return labels
}

func TestAlertsAreComplete(t *testing.T) {
	anchors := headings(t)
	seen := map[string]bool{}
	for _, a := range loadAlerts(t) {
		if !strings.HasPrefix(a.Alert, "Eventd") || seen[a.Alert] {
			t.Errorf("%s: is not a name of ours, or there twice", a.Alert)
		}
		seen[a.Alert] = true
		if d, err := time.ParseDuration(a.For); err != nil || d < time.Minute {
			t.Errorf("%s: for %q; want a minute or more", a.Alert, a.For)
		}
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q; want critical or warning", a.Alert, s)
		}
		for _, name := range []string{"summary", "description", "runbook_url"} {
			if len(a.Annotations[name]) < 20 {
				t.Errorf("%s: %s is %q", a.Alert, name, a.Annotations[name])
			}
		}
		page, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(page, "/docs/metrics.md") || anchor != strings.ToLower(a.Alert) || !anchors[anchor] {
			t.Errorf("%s: %s leads nowhere", a.Alert, a.Annotations["runbook_url"])
		}
		delete(anchors, anchor)
	}
	for anchor := range anchors {
		if strings.HasPrefix(anchor, "eventd") {
			t.Errorf("docs/metrics.md#%s is about no alert", anchor)
		}
	}
}

func readDocs(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// headings are the anchors of docs/metrics.md that are one word.
func headings(t *testing.T) map[string]bool {
	t.Helper()
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (\w+)$`).FindAllStringSubmatch(readDocs(t), -1) {
		anchors[strings.ToLower(m[1])] = true
	}
	return anchors
}

// What the documentation tells people to ask can be asked.
func TestDocsAskForWhatThereIs(t *testing.T) {
	known := exposed(t)
	expressions := regexp.MustCompile("`([^`\n]*\\(eventd_[^`\n]*)`").FindAllStringSubmatch(readDocs(t), -1)
	if len(expressions) < 4 {
		t.Fatalf("%d expressions in docs/metrics.md; there were more", len(expressions))
	}
	for _, m := range expressions {
		expr := strings.NewReplacer(`\|`, "|", `"NAME"`, `"h"`).Replace(m[1])
		if _, problems := check(expr, known); len(problems) > 0 {
			t.Errorf("docs/metrics.md: %s\n\t%s", problems, expr)
		}
	}
}
