package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/daemon"
)

// defaultAdmin is where the daemon's API is unless its file says otherwise.
const defaultAdmin = "http://127.0.0.1:9180"

// remote is the running daemon that a command speaks to.
type remote struct {
	admin, tokenFile string
	timeout          time.Duration
	service          string // who asks; "" for nobody in particular
}

// bind declares the flags that all commands for a running daemon have.
func (r *remote) bind(p *program, fs *flag.FlagSet) {
	fs.StringVar(&r.admin, "admin", p.environ("EVENTD_ADMIN", defaultAdmin), "`URL` of the daemon's API, also EVENTD_ADMIN")
	fs.StringVar(&r.tokenFile, "token-file", p.environ("EVENTD_TOKEN_FILE", ""), "`FILE` with the token for it, also EVENTD_TOKEN_FILE")
	fs.DurationVar(&r.timeout, "timeout", 30*time.Second, "`HOW-LONG` to wait for an answer")
}

// environ returns an environment variable, or something else where it is unset
// or empty.
func (p *program) environ(name, otherwise string) string {
	value, _ := p.env(name)
	return cmp.Or(value, otherwise)
}

// client returns a client for the daemon. Errors are usage errors.
func (r *remote) client() (*client.Client, error) {
	if !strings.Contains(r.admin, "://") {
		r.admin = "http://" + r.admin
	}
	token := ""
	if r.tokenFile != "" {
		b, err := os.ReadFile(r.tokenFile)
		if err != nil {
			return nil, wrongUsage("token cannot be read: %v", err)
		}
		token = strings.TrimSpace(string(b))
	}
	c, err := client.New(r.admin, token, &http.Client{Timeout: r.timeout})
	if err != nil {
		return nil, wrongUsage("-admin: %v", err)
	}
	c.Service = r.service
	return c, nil
}

// unreached says why the daemon gave no answer, in words that say what to do.
// Refusals by the daemon are returned as they are.
func (r *remote) unreached(ctx context.Context, err error) error {
	var refusal *client.Error
	var exchange *url.Error
	switch {
	case errors.As(err, &refusal) && refusal.Detail == "":
		return fmt.Errorf("%s answers %d %s: is that the address of eventd's API? (-admin URL)", r.admin, refusal.Status, refusal.Title)
	case err == nil || !errors.As(err, &exchange):
		return err
	}
	var slow net.Error
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("eventd does not answer on %s: is it running? (-admin URL)", r.admin)
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Errorf("eventd did not answer on %s within %s (-timeout)", r.admin, r.timeout)
	}
	return fmt.Errorf("eventd does not answer on %s: %w (-admin URL)", r.admin, exchange.Err)
}

// tellRefusal says what the daemon has against it, and returns the exit code.
func (p *program) tellRefusal(e *client.Error) int {
	p.say("%s", printableLines(refusalText(e)))
	if len(e.Candidates) > 0 {
		// There is nowhere left to tell that standard error fails.
		_ = candidateTable(e.Candidates).write(p.stderr, newScreen(p.stderr, p.env))
	}
	switch e.Status {
	case http.StatusUnauthorized:
		fmt.Fprintln(p.stderr, "Give the token with -token-file FILE or EVENTD_TOKEN_FILE.")
	case http.StatusConflict:
		if len(e.Candidates) > 0 {
			fmt.Fprintln(p.stderr, "Choose one with -table and -source-service.")
		}
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return daemon.ExitConfiguration
	}
	return daemon.ExitUnexpected
}

// refusalText is what the daemon says, each fault once and with its place.
func refusalText(e *client.Error) string {
	text := cmp.Or(e.Detail, e.Title)
	var rest strings.Builder
	for _, f := range e.Errors {
		line := strings.TrimPrefix(f.Location+": "+f.Message, ": ")
		if f.Message == e.Detail || line == e.Detail {
			text = line
			continue
		}
		rest.WriteString("\n  " + line)
	}
	return text + rest.String()
}
