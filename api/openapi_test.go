package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/event"
)

// calls is every call of the contract. A new one is added here by hand.
var calls = strings.Fields(`
	GET/livez GET/readyz
	POST/v1/events GET/v1/events GET/v1/events/{event_id} GET/v1/events/{event_id}/payload
	POST/v1/events/{event_id}/redrive POST/v1/events/{event_id}/cancel
	GET/v1/status GET/v1/sources GET/v1/routes GET/v1/handlers GET/v1/schedules
	POST/v1/handlers/{name}/pause POST/v1/handlers/{name}/resume
	POST/v1/sources/{name}/pause POST/v1/sources/{name}/resume
	POST/v1/explain POST/v1/reload GET/v1/config
	POST/v1/redrives GET/v1/redrives GET/v1/redrives/{id} DELETE/v1/redrives/{id} GET/v1/correlations/{correlation_id}
	GET/v1/working-data/{correlation_id} PUT/v1/working-data/{correlation_id} PATCH/v1/working-data/{correlation_id}
	POST/v1/handlers/{name}/claim POST/v1/claims/{id}/complete POST/v1/claims/{id}/fail
	POST/v1/claims/{id}/extend POST/v1/claims/{id}/release GET/v1/backup GET/v1/stream`)

type operation struct {
	OperationID string `json:"operationId"`
	Parameters  []struct{ Name, In string }
	RequestBody struct{ Content map[string]any }
	Responses   map[string]struct {
		Description string
		Content     map[string]struct{ Schema map[string]any }
	}
	Security []map[string][]string
}

type openAPI struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Paths   map[string]map[string]operation
}

func describe(t *testing.T, h http.Handler, header ...string) (openAPI, map[string]any) {
	t.Helper()
	w := ask(h, "GET", "/openapi.json", "", header...)
	if got := w.Header().Get("Content-Type"); got != "application/openapi+json" {
		t.Errorf("Content-Type = %q", got)
	}
	return want[openAPI](t, w, 200), want[map[string]any](t, w, 200)
}

func TestOpenAPIHasEveryCall(t *testing.T) {
	d, _ := describe(t, serve(newFake()))
	if !strings.HasPrefix(d.OpenAPI, "3.1.") || d.Info.Title != "eventd" || d.Info.Version != "1.2.3" {
		t.Errorf("openapi, info = %q, %+v", d.OpenAPI, d.Info)
	}
	var described []string
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for method, op := range item {
			described = append(described, strings.ToUpper(method)+path)
			if op.OperationID == "" || ids[op.OperationID] {
				t.Errorf("%s %s: operation id %q is empty or used twice", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
			checkOperation(t, method+" "+path, path, op)
		}
	}
	slices.Sort(described)
	slices.Sort(calls)
	if !slices.Equal(described, slices.Compact(calls)) {
		t.Errorf("described:\n%s\nwant:\n%s", strings.Join(described, "\n"), strings.Join(calls, "\n"))
	}
}

var rxParam = regexp.MustCompile(`\{(\w+)\}`)

func checkOperation(t *testing.T, name, path string, op operation) {
	t.Helper()
	for _, m := range rxParam.FindAllStringSubmatch(path, -1) {
		if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == m[1] && p.In == "path" }) {
			t.Errorf("%s: path parameter %s is not described", name, m[1])
		}
	}
	if len(op.Responses) < 2 {
		t.Errorf("%s: responses = %v; want one and the problems", name, op.Responses)
	}
	for status, r := range op.Responses {
		if r.Description == "" {
			t.Errorf("%s: %s has no description", name, status)
		}
		if status == "default" || status >= "400" {
			if ref := r.Content["application/problem+json"].Schema["$ref"]; ref != "#/components/schemas/Problem" {
				t.Errorf("%s: %s refers to %v; want the problem", name, status, ref)
			}
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	h := serve(newFake(row(1, event.Inbound, "UP", "x")))
	d, _ := describe(t, h)
	for path, item := range d.Paths {
		for method := range item {
			w := ask(h, strings.ToUpper(method), rxParam.ReplaceAllString(path, "x"), "")
			if w.Code == 405 || w.Code == 404 && strings.Contains(w.Body.String(), "there is nothing at") {
				t.Errorf("%s %s is described but not served: %s", method, path, w.Body)
			}
		}
	}
}

func TestOpenAPIBodies(t *testing.T) {
	d, _ := describe(t, serve(newFake()))
	for _, path := range []string{"/v1/events", "/v1/explain"} {
		for _, media := range []string{"application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "*/*"} {
			if d.Paths[path]["post"].RequestBody.Content[media] == nil {
				t.Errorf("POST %s does not describe %s", path, media)
			}
		}
	}
	payload := d.Paths["/v1/events/{event_id}/payload"]["get"].Responses["200"]
	if payload.Content["*/*"].Schema["format"] != "binary" || len(payload.Content) != 1 {
		t.Errorf("payload = %+v; want bytes", payload.Content)
	}
}

func TestOpenAPIReferencesResolve(t *testing.T) {
	_, raw := describe(t, serve(newFake()))
	schemas := raw["components"].(map[string]any)["schemas"].(map[string]any)
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[strings.TrimPrefix(ref, "#/components/schemas/")] = true
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(raw)
	for name := range used {
		if schemas[name] == nil {
			t.Errorf("schema %s is referred to but not there", name)
		}
	}
	for name := range schemas {
		if !used[name] {
			t.Errorf("schema %s is there but not referred to", name)
		}
	}
}

// TestAnswersFitTheirSchema checks real answers against what is described.
func TestAnswersFitTheirSchema(t *testing.T) {
	f := newFake(whole())
	f.payloads[1] = []event.Payload{{Body: []byte("{}"), CreatedAt: noon}}
	f.problems = []string{"nats: not connected"}
	h := serve(f)
	_, raw := describe(t, h)
	for _, c := range []struct{ method, target, body, schema string }{
		{"GET", "/v1/events", "", "List"},
		{"GET", "/v1/events/7f3", "", "Detail"},
		{"GET", "/v1/correlations/x", "", "Conversation"},
		{"GET", "/v1/status", "", "Status"},
		{"GET", "/v1/sources", "", "Sources"},
		{"GET", "/v1/routes", "", "Routes"},
		{"GET", "/v1/handlers", "", "Handlers"},
		{"GET", "/v1/schedules", "", "Schedules"},
		{"POST", "/v1/events", `{"message_type":"X"}`, "Accepted"},
		{"POST", "/v1/explain", `{"message_type":"RQ_A_INIT"}`, "Explained"},
		{"POST", "/v1/events/7f3/redrive", `{}`, "Changed"},
		{"POST", "/v1/handlers/service-a/pause", "", "Switched"},
		{"POST", "/v1/reload", "", "Reloaded"},
		{"GET", "/v1/events?limit=x", "", "Problem"},
		{"GET", "/nope", "", "Problem"},
	} {
		w := ask(h, c.method, c.target, c.body, "Content-Type", "application/json")
		if err := fits(raw, c.schema, w.Body.Bytes()); err != nil {
			t.Errorf("%s %s: %v\n%s", c.method, c.target, err, w.Body)
		}
	}
}

// fits checks an answer against a schema of the description, refusing fields
// that are not described.
func fits(description map[string]any, schema string, answer []byte) error {
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", description); err != nil {
		return err
	}
	s, err := c.Compile("openapi.json#/components/schemas/" + schema)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(answer)))
	if err != nil {
		return err
	}
	if err := s.Validate(v); err != nil {
		return err
	}
	known := description["components"].(map[string]any)["schemas"].(map[string]any)[schema].(map[string]any)["properties"].(map[string]any)
	for name := range v.(map[string]any) {
		if known[name] == nil {
			return fmt.Errorf("%s is not described", name)
		}
	}
	return nil
}

// TestEnumsAreComplete holds the lists in struct tags against the data model.
func TestEnumsAreComplete(t *testing.T) {
	_, raw := describe(t, serve(newFake()))
	wanted := map[string]string{"table": fmt.Sprint(event.Tables), "status": fmt.Sprint(event.Statuses)}
	seen := 0
	for name, schema := range raw["components"].(map[string]any)["schemas"].(map[string]any) {
		properties, _ := schema.(map[string]any)["properties"].(map[string]any)
		for field, list := range wanted {
			p, _ := properties[field].(map[string]any)
			if p == nil || p["enum"] == nil {
				continue
			}
			seen++
			if got := fmt.Sprint(p["enum"]); got != list {
				t.Errorf("%s.%s = %s; want %s", name, field, got, list)
			}
		}
	}
	if seen < 6 {
		t.Errorf("only %d enums seen", seen)
	}
}

func TestOpenAPISecurity(t *testing.T) {
	o := options(newFake())
	o.Token = func() (string, error) { return "s3cret", nil }
	d, raw := describe(t, api.New(o), "Authorization", "Bearer s3cret")
	b, _ := json.Marshal(raw["security"])
	if string(b) != `[{"bearer":[]}]` {
		t.Errorf("security = %s", b)
	}
	if s := d.Paths["/livez"]["get"].Security; len(s) != 1 || len(s[0]) != 0 {
		t.Errorf("security of /livez = %v; want none", s)
	}
	_, raw = describe(t, serve(newFake()))
	if raw["security"] != nil {
		t.Errorf("security without a token = %v", raw["security"])
	}
}
