package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/eventd-io/eventd/daemon"
)

// defaultHealth is where the daemon says that it is alive unless its file says
// otherwise.
const defaultHealth = "http://127.0.0.1:9181/livez"

func healthCommand() *command {
	return &command{
		name: "health", brief: "tell whether the daemon is alive, for the health check of a container",
		about: `Asks the daemon whether it is alive: exit code 0 or 1. It asks -url; without it
EVENTD_HEALTH_URL; without that /livez on metrics.listen of -config, or on
127.0.0.1:9181. Ask /readyz to know whether events are taken in and handled:
not being ready is no reason for a restart.`,
		examples: `eventd health
eventd health -config routes.yaml
eventd health -url http://127.0.0.1:9181/readyz`,
		bind: func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
			address := fs.String("url", "", "`URL` to ask")
			path := fs.String("config", "", "the daemon's configuration `FILE`")
			timeout := fs.Duration("timeout", 2*time.Second, "`HOW-LONG` to wait for an answer")
			return func(ctx context.Context, _ []string) error {
				target, err := p.healthURL(*address, *path)
				if err != nil {
					return err
				}
				ctx, stop := context.WithTimeout(ctx, *timeout)
				defer stop()
				return p.health(ctx, target)
			}
		},
	}
}

// healthURL returns what to ask.
func (p *program) healthURL(given, path string) (string, error) {
	if given != "" {
		return given, nil
	}
	if path == "" || p.environ("EVENTD_HEALTH_URL", "") != "" {
		return p.environ("EVENTD_HEALTH_URL", defaultHealth), nil
	}
	c, err := daemon.Load(path, p.env)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(c.Metrics.Listen)
	if err != nil {
		return "", fmt.Errorf("metrics.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/livez", nil
}

// health asks and prints the answer.
func (p *program) health(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil) //nolint:gosec // whoever calls says what to ask
	if err != nil {
		return wrongUsage("-url: %v", err)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // as above
	if err != nil {
		var exchange *url.Error
		if errors.As(err, &exchange) {
			err = exchange.Err
		}
		return fmt.Errorf("no answer from %s: %w", target, err)
	}
	defer resp.Body.Close()
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", target, err)
	}
	answer := printableLines(strings.TrimSpace(string(body)))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", target, resp.Status, strings.ReplaceAll(answer, "\n", "; "))
	}
	_, err = fmt.Fprintln(p.stdout, answer)
	return err
}
