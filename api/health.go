package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"github.com/eventd-io/eventd/api/wire"
)

// Health serves /livez and /readyz alone, for a listener that shows nothing
// else to the network. It asks for no token and takes any Host: kubelets and
// load balancers call by address.
func Health(o Overview) http.Handler {
	mux := http.NewServeMux()
	openHealth(mux, o)
	return routed(mux)
}

func isHealth(path string) bool { return path == "/livez" || path == "/readyz" }

func openHealth(mux *http.ServeMux, o Overview) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if asksForJSON(r.Header.Get("Accept"), "text/plain") {
			readyJSON(w, o.Problems())
			return
		}
		readyText(w, o.Problems())
	})
}

func readyText(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(reasons) == 0 {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte("not ready\n" + strings.Join(reasons, "\n") + "\n"))
}

func readyJSON(w http.ResponseWriter, reasons []string) {
	if len(reasons) == 0 {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(wire.Ready{Ready: true})
		return
	}
	p := newProblem(http.StatusServiceUnavailable, "not ready: %s", strings.Join(reasons, "; "))
	for _, reason := range reasons {
		p.Errors = append(p.Errors, wire.Fault{Message: reason})
	}
	p.write(w)
}

// asksForJSON reports whether an Accept header prefers JSON to the type that is
// served otherwise.
func asksForJSON(accept, otherwise string) bool {
	chosen := negotiation.SelectQValue(accept, []string{otherwise, "application/json", problemType})
	return chosen == "application/json" || chosen == problemType
}

// describeHealth puts both into the description: the framework does not serve
// them, since they are served without it elsewhere.
func (s *service) describeHealth() {
	ready := s.api.OpenAPI().Components.Schemas.Schema(typeOf[wire.Ready](), true, "")
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	alive := call{method: http.MethodGet, path: "/livez", id: "livez", tag: "health",
		summary: "Whether the process is alive", open: true}
	op := s.operation(alive)
	op.Responses["200"] = &huma.Response{Description: "Alive.", Content: map[string]*huma.MediaType{"text/plain": text}}
	s.api.OpenAPI().AddOperation(op)

	op = s.operation(call{method: http.MethodGet, path: "/readyz", id: "readyz", tag: "health",
		summary: "Whether it takes and handles events, and why not", open: true, problems: []int{503}})
	op.Responses["200"] = &huma.Response{Description: "Ready.", Content: map[string]*huma.MediaType{
		"text/plain": text, "application/json": {Schema: ready}}}
	op.Responses["503"].Content["text/plain"] = text
	s.api.OpenAPI().AddOperation(op)
}
