package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/zerolog"
)

// Limits that hold unless [Options] say otherwise.
const (
	defaultMaxBody   = 8 << 20
	defaultMaxEvents = 1000
	// maxOrder is the size of a JSON body that orders something: a redrive.
	maxOrder = 64 << 10
	// bodiesAtOnce is how many bodies of full size may be in memory together.
	bodiesAtOnce = 32
)

// Options are what the API works with. The interfaces are all required.
type Options struct {
	Service string    // the daemon's own, which events without one are from
	Version string    // of the program
	Started time.Time // of the daemon; the time of [New] when zero

	// Listen is the address it is served on, and Hosts are further names that
	// requests may call it by. Loopback names are always allowed.
	Listen string
	Hosts  []string
	// Token returns the bearer token to ask for, without white space around
	// it. It is called for each request, so that a rotated file counts at
	// once; on an error, or an empty token, nobody gets in. nil asks for none.
	Token func() (string, error)

	MaxBody   int64 // bytes of a body with events; 8 MiB when 0
	MaxEvents int   // events in one body; 1000 when 0

	Intake    Intake
	Reader    Reader
	Working   WorkingData
	Operator  Operator
	Claims    Claims
	Redriver  Redriver
	Switches  Switches
	Overview  Overview
	Explainer Explainer
	Control   Control
	Backups   Backups
	Log       zerolog.Logger
}

func (o Options) withLimits() Options {
	o.MaxBody = cmp.Or(o.MaxBody, defaultMaxBody)
	o.MaxEvents = cmp.Or(o.MaxEvents, defaultMaxEvents)
	return o
}

// service is the API at work.
type service struct {
	Options
	api    huma.API
	bodies atomic.Int64 // bytes reserved for bodies that are being taken in
}

// New returns the API, to be served on the admin listener. It starts nothing
// and needs no closing.
func New(o Options) http.Handler {
	o = o.withLimits()
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	mux := http.NewServeMux()
	s := &service{Options: o, api: humago.New(mux, settings(o))}
	s.registerAll()
	openHealth(mux, o.Overview)
	s.serveDescription(mux)
	serveProfiles(mux)
	return s.guard(routed(mux))
}

// NewClaims returns the calls about claims alone, for requests that come on
// another way than the admin listener's and were let in there: it asks for no
// token and looks at no Host. Of the options it needs Service, Claims and Log.
func NewClaims(o Options) http.Handler {
	o = o.withLimits()
	mux := http.NewServeMux()
	s := &service{Options: o, api: humago.New(mux, settings(o))}
	s.registerClaims()
	return s.admitting(routed(mux), s.checkLength)
}

func (s *service) registerAll() {
	s.registerSend()
	s.registerList()
	s.registerShow()
	s.registerOperate()
	s.registerClaims()
	s.registerWorking()
	s.registerConversation()
	s.registerRedrives()
	s.registerOverview()
	s.registerSwitches()
	s.registerExplain()
	s.registerControl()
	s.registerBackup()
	s.registerLater()
	s.describeHealth()
}

// settings leaves out everything of the framework that adds to a response or
// serves pages: its documentation page would load scripts from elsewhere.
func settings(o Options) huma.Config {
	formats := map[string]huma.Format{
		"application/json": huma.DefaultJSONFormat,
		"json":             huma.DefaultJSONFormat,
	}
	c := huma.Config{
		OpenAPI:                      description(o),
		Formats:                      formats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{ownProblem},
	}
	// Answers may get more fields; what is ordered may not have any.
	c.AllowAdditionalPropertiesByDefault = true
	return c
}

func description(o Options) *huma.OpenAPI {
	d := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:       "eventd",
			Version:     cmp.Or(o.Version, "unknown"),
			Description: "Events in, events looked at, events steered.",
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
		},
	}
	if o.Token != nil {
		d.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
			"bearer": {Type: "http", Scheme: "bearer"},
		}
		d.Security = []map[string][]string{{"bearer": {}}}
	}
	return d
}

// serveDescription serves what is registered by now: nothing is registered later.
func (s *service) serveDescription(mux *http.ServeMux) {
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	// The framework registers its own error model, which no call refers to.
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	text := sync.OnceValues(func() ([]byte, error) { return json.Marshal(s.api.OpenAPI()) })
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		b, err := text()
		if err != nil {
			s.internal("describe the API", err).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(b)
	})
}
