package daemon

import (
	"context"
	"errors"
	"testing"

	"github.com/eventd-io/eventd/event"
)

// TestReloadWhileStarting is refused: the API listens before all else is there.
func TestReloadWhileStarting(t *testing.T) {
	if err := new(Daemon).Reload(context.Background()); !errors.Is(err, event.ErrUnavailable) {
		t.Errorf("Reload = %v; want %v", err, event.ErrUnavailable)
	}
}
