package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/eventd-io/eventd/api"
	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/metrics"
)

func (d *Daemon) startListeners(_ context.Context, c *config.Config) error {
	mux := http.NewServeMux()
	mux.Handle("/metrics", metrics.Handler(d.registry))
	mux.Handle("/", api.Health(d))
	if err := d.listen("metrics", c.Metrics.Listen, nil, mux); err != nil {
		return err
	}
	var certificate *tls.Config
	if t := c.Admin.TLS; t != nil {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return fmt.Errorf("admin.tls: %w", err)
		}
		certificate = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	return d.listen("admin", c.Admin.Listen, certificate, api.New(api.Options{
		Service: c.Service, Version: d.options.Version, Started: d.started,
		Listen: c.Admin.Listen, Token: token(c.Admin.TokenFile),
		Intake: d.router, Reader: d.store, Operator: d.router, Redriver: d.router, Claims: d.router, Switches: d, Ordering: d.router, Overview: d,
		Working: d.router, Explainer: d.router, Control: d, Backups: d.store, Log: d.log,
	}))
}

// token reads the token anew for each request, so that a rotated file counts
// at once.
func token(file string) func() (string, error) {
	if file == "" {
		return nil
	}
	return func() (string, error) {
		b, err := os.ReadFile(file)
		return strings.TrimSpace(string(b)), err
	}
}

// listen serves h until the daemon stops. A listener that fails later ends the
// daemon.
func (d *Daemon) listen(name, address string, certificate *tls.Config, h http.Handler) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s.listen: %w", name, err)
	}
	if certificate != nil {
		l = tls.NewListener(l, certificate)
	}
	server := api.NewServer(h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.fail(fmt.Errorf("%s listener: %w", name, err))
		}
	}()
	d.onStop(name+" listener", func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-done
		return err
	})
	return nil
}
