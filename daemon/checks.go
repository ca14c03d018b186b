package daemon

import (
	"fmt"
	"time"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/handler"
	"github.com/eventd-io/eventd/queue"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/schema"
)

// checkSchemas finds the schema files of routes and sources that do not compile.
func checkSchemas(c *config.Config) (issues []config.Issue) {
	look := func(path, file string) {
		if !c.Sound(path) {
			return
		}
		if _, err := schema.Load(file); err != nil {
			issues = append(issues, c.Issue(path, err))
		}
	}
	for _, name := range config.Names(c.Sources) {
		look("sources."+name+".schema", c.Sources[name].Schema)
	}
	for i := range c.Routes {
		look(fmt.Sprintf("routes[%d].schema", i), c.Routes[i].Schema)
	}
	return issues
}

// checkCertificates finds files of handlers' tls that cannot be used, or not any
// more.
func checkCertificates(c *config.Config) (issues []config.Issue) {
	now := time.Now()
	for _, name := range config.Names(c.Handlers) {
		h := c.Handlers[name]
		if h.TLS == nil {
			continue
		}
		path := "handlers." + name + ".tls"
		if at := path + ".ca_file"; c.Sound(at) {
			if err := handler.CheckAuthorities(h.TLS.CAFile, now); err != nil {
				issues = append(issues, c.Issue(at, err))
			}
		}
		if at := path + ".cert_file"; c.Sound(at) && c.Sound(path+".key_file") {
			if err := handler.CheckCertificate(h.TLS.CertFile, h.TLS.KeyFile, now); err != nil {
				issues = append(issues, c.Issue(at, err))
			}
		}
	}
	return issues
}

func handlerTLS(t *config.HandlerTLS) handler.TLSOptions {
	if t == nil {
		return handler.TLSOptions{}
	}
	return handler.TLSOptions{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
}

// schemas are compiled schemas by file.
type schemas map[string]*schema.Schema

// load returns the schema in a file, nil for no file. It is compiled once.
func (s schemas) load(file string) (*schema.Schema, error) {
	if file == "" || s[file] != nil {
		return s[file], nil
	}
	compiled, err := schema.Load(file)
	if err != nil {
		return nil, err
	}
	s[file] = compiled
	return compiled, nil
}

// addTo gives a route the schema that it is configured with.
func (s schemas) addTo(r *router.Route, file string) error {
	compiled, err := s.load(file)
	if err != nil {
		return fmt.Errorf("route %s: schema %w", r.Name, err)
	}
	if compiled != nil { // an interface with no schema in it would be one
		r.Schema, r.SchemaFile = compiled, file
	}
	return nil
}

// ofSources returns the schemas of the sources that have one, by name.
func (s schemas) ofSources(c *config.Config) (map[string]router.Checker, error) {
	list := make(map[string]router.Checker)
	for name, source := range c.Sources {
		compiled, err := s.load(source.Schema)
		if err != nil {
			return nil, fmt.Errorf("source %s: schema %w", name, err)
		}
		if compiled != nil {
			list[name] = compiled
		}
	}
	return list, nil
}

// checksOf returns what messages of a source have to stand.
func checksOf(name string, s *config.Source, from schemas) (checks queue.Checks, err error) {
	compiled, err := from.load(s.Schema)
	if err != nil {
		return checks, fmt.Errorf("source %s: schema %w", name, err)
	}
	if compiled != nil {
		checks.Payload = compiled
	}
	return checks, nil
}
