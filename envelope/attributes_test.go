package envelope

import (
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// TestIsPath: what is taken without asking the library is what the library takes.
func TestIsPath(t *testing.T) {
	const letters = "/.-_aZ0:%? "
	sound := func(source string) bool {
		u := types.ParseURIRef(source)
		return u != nil && len(cloudevents.EventContextV1{ID: "1", Type: "T", Source: *u}.Validate()) == 0
	}
	taken := 0
	const digits = len(letters) + 1 // the first stands for no letter
	for n := range digits * digits * digits * digits {
		source := ""
		for ; n > 0; n /= digits {
			if d := n % digits; d > 0 {
				source += letters[d-1 : d]
			}
		}
		if isPath(source) {
			taken++
			if !sound(source) {
				t.Errorf("%q is taken; the library refuses it", source)
			}
		}
	}
	if taken < 1000 {
		t.Errorf("%d are taken; want most of those without %q", taken, ":%? ")
	}
}
