package storage

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the tests with random operations run as often as a quick run
// allows, unless -rapid.checks says how often.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		_ = flag.Set("rapid.checks", "30")
	}
	if len(os.Getenv(childMode)) > 0 {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
