package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Panels        []panel
	Templating    struct{ List []variable }
}

type variable struct {
	Name, Type string
	Query      json.RawMessage
	Datasource source
}

type source struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                source
	}
}

func loadDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile("grafana/eventd.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 39 || len(d.Panels) < 30 {
		t.Fatalf("dashboard %q (%q), schema %d, %d panels: that is not ours", d.Title, d.UID, d.SchemaVersion, len(d.Panels))
	}
	return d
}

var legendLabel = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	known := exposed(t)
	for _, p := range loadDashboard(t).Panels {
		for _, q := range p.Targets {
			labels, problems := check(q.Expr, known)
			for _, problem := range problems {
				t.Errorf("%s %s: %s\n\t%s", p.Title, q.RefID, problem, q.Expr)
			}
			for _, m := range legendLabel.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("%s %s: the legend asks for %s; there are %v", p.Title, q.RefID, m[1], labels)
				}
			}
			if !strings.Contains(q.Expr, `job=~"$job", instance=~"$instance"`) {
				t.Errorf("%s %s: does not choose by job and instance\n\t%s", p.Title, q.RefID, q.Expr)
			}
		}
	}
}

func TestDashboardPanelsAreComplete(t *testing.T) {
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range loadDashboard(t).Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || titles[p.Title] {
			t.Errorf("panel %d %q: id or title is missing or there twice", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type == "row" {
			continue
		}
		sentence := p.Description
		if len(sentence) < 20 || !strings.HasSuffix(sentence, ".") || strings.Count(sentence, ". ") > 0 {
			t.Errorf("%s: %q is not one sentence that says what to do", p.Title, sentence)
		}
		if p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s: has no unit", p.Title)
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s: asks for nothing", p.Title)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.Datasource != (source{"prometheus", "${datasource}"}) || refs[q.RefID] {
				t.Errorf("%s %s: wrong data source or a name used twice", p.Title, q.RefID)
			}
			refs[q.RefID] = true
		}
	}
}

func TestDashboardPanelsDoNotOverlap(t *testing.T) {
	panels := loadDashboard(t).Panels
	for i, p := range panels {
		a := p.GridPos
		if a.W <= 0 || a.H <= 0 || a.X < 0 || a.X+a.W > 24 {
			t.Errorf("%s: lies outside: %+v", p.Title, a)
		}
		for _, q := range panels[:i] {
			b := q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies on %s", p.Title, q.Title)
			}
		}
	}
}

func TestDashboardVariables(t *testing.T) {
	known := exposed(t)
	values := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	kinds := map[string]string{}
	for _, v := range loadDashboard(t).Templating.List {
		kinds[v.Name] = v.Type
		if v.Type != "query" {
			continue
		}
		var q struct{ Query string }
		if err := json.Unmarshal(v.Query, &q); err != nil {
			t.Fatal(err)
		}
		m := values.FindStringSubmatch(q.Query)
		if m == nil {
			t.Errorf("$%s: %q is not understood", v.Name, q.Query)
			continue
		}
		labels, problems := check(m[1], known)
		if len(problems) > 0 || !slices.Contains(labels, m[2]) {
			t.Errorf("$%s: %q: %v, labels %v", v.Name, q.Query, problems, labels)
		}
	}
	for name, want := range map[string]string{"datasource": "datasource", "job": "query", "instance": "query", "handler": "query"} {
		if kinds[name] != want {
			t.Errorf("$%s is a %q; want %q", name, kinds[name], want)
		}
	}
}

// Every metric of eventd can be seen on the dashboard.
func TestDashboardShowsEveryMetric(t *testing.T) {
	known := exposed(t)
	shown := map[string]bool{}
	for _, p := range loadDashboard(t).Panels {
		for _, q := range p.Targets {
			for _, n := range names(q.Expr, known) {
				shown[n] = true
			}
		}
	}
	for name := range known {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if strings.HasPrefix(name, "eventd_") && !shown[base] {
			t.Errorf("%s is on no panel", base)
		}
	}
}
