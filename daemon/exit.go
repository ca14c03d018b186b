package daemon

import (
	"errors"
	"fmt"

	"github.com/eventd-io/eventd/config"
	"github.com/eventd-io/eventd/storage"
)

// Exit codes of the process.
const (
	ExitOK               = 0
	ExitUnexpected       = 1
	ExitConfiguration    = 2
	ExitStoreUnavailable = 3
	ExitStoreCorrupt     = 4
	ExitStoreNewer       = 5
	ExitNATSRefused      = 6
	ExitDurabilityLost   = 70
)

// errRefused: NATS refuses us, and would do so again.
var errRefused = errors.New("NATS refuses the connection")

// ExitCode returns the code that a process which ends with err exits with.
func ExitCode(err error) int {
	var problems config.Problems
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &problems), errors.Is(err, errUnreadable):
		return ExitConfiguration
	case errors.Is(err, storage.ErrBroken):
		return ExitDurabilityLost
	case errors.Is(err, storage.ErrUnavailable):
		return ExitStoreUnavailable
	case errors.Is(err, storage.ErrCorrupt):
		return ExitStoreCorrupt
	case errors.Is(err, storage.ErrNewer):
		return ExitStoreNewer
	case errors.Is(err, errRefused):
		return ExitNATSRefused
	default:
		return ExitUnexpected
	}
}

// errUnreadable: the configuration file itself cannot be read.
var errUnreadable = errors.New("configuration cannot be read")

// Load reads and checks a configuration file: all that starting with it checks,
// expressions, crons, schemas, certificates and secrets included. The error is [config.Problems], which lists
// everything that is wrong, or says why the file cannot be read.
func Load(path string, env func(string) (string, bool)) (*config.Config, error) {
	return load(path, env, nil)
}

// load is Load that may pass over certificates that are not valid at this time: see
// [checkCertificates].
func load(path string, env func(string) (string, bool), outdated func(path string, err error)) (*config.Config, error) {
	certificates := func(c *config.Config) []config.Issue { return checkCertificates(c, outdated) }
	c, err := config.Load(path, env, checkExpressions, checkSchedules, checkSchemas, certificates, checkSecrets)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return c, err
}
