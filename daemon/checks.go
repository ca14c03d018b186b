package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/handler"
	"github.com/eventd-io/eventd/queue"
	"github.com/eventd-io/eventd/router"
	"github.com/eventd-io/eventd/schema"
	"github.com/eventd-io/eventd/webhook"
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
// more. Where there is outdated, it is told of those that are not valid at this time,
// and they are no issue.
func checkCertificates(c *config.Config, outdated func(path string, err error)) (issues []config.Issue) {
	now := time.Now()
	found := func(at string, err error) {
		switch {
		case err == nil:
		case outdated != nil && errors.Is(err, handler.ErrNotValidNow):
			outdated(at, err)
		default:
			issues = append(issues, c.Issue(at, err))
		}
	}
	for _, name := range config.Names(c.Handlers) {
		h := c.Handlers[name]
		if h.TLS == nil {
			continue
		}
		path := "handlers." + name + ".tls"
		if at := path + ".ca_file"; c.Sound(at) {
			found(at, handler.CheckAuthorities(h.TLS.CAFile, now))
		}
		if at := path + ".cert_file"; c.Sound(at) && c.Sound(path+".key_file") {
			found(at, handler.CheckCertificate(h.TLS.CertFile, h.TLS.KeyFile, now))
		}
	}
	return issues
}

// checkSecrets finds files of secrets that cannot be used. What is said of them
// has nothing of the secrets in it.
func checkSecrets(c *config.Config) (issues []config.Issue) {
	look := func(path string, load func() error) {
		if c.Sound(path) {
			if err := load(); err != nil {
				issues = append(issues, c.Issue(path, err))
			}
		}
	}
	for _, name := range config.Names(c.Sources) {
		if v := c.Sources[name].Verify; v != nil {
			look("sources."+name+".verify.secret_file", func() error { _, err := verifier(v); return err })
		}
	}
	for _, name := range config.Names(c.Handlers) {
		if s := c.Handlers[name].Sign; s != nil {
			look("handlers."+name+".sign.secret_file", func() error { _, err := signer(s); return err })
		}
	}
	return issues
}

// signer returns who signs what a handler sends; nil for nobody.
func signer(s *config.Sign) (handler.Signer, error) {
	if s == nil {
		return nil, nil
	}
	text, err := os.ReadFile(s.SecretFile)
	if err != nil {
		return nil, err
	}
	return webhook.NewSigner(webhook.Secrets(string(text))...)
}

// sourceVerifier verifies messages of a source.
type sourceVerifier struct {
	*webhook.Verifier
	tolerance time.Duration
}

// Verify implements [queue.Verifier].
func (v *sourceVerifier) Verify(header map[string][]string, body []byte, at time.Time) error {
	return v.VerifyAt(header, body, at, v.tolerance)
}

func verifier(c *config.Verify) (*sourceVerifier, error) {
	text, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return nil, err
	}
	v, err := webhook.NewVerifier(webhook.Secrets(string(text))...)
	return &sourceVerifier{v, c.Tolerance}, err
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
	if s.Verify != nil {
		if checks.Signature, err = verifier(s.Verify); err != nil {
			return checks, fmt.Errorf("source %s: verify: %w", name, err)
		}
	}
	return checks, nil
}
