package storage

import (
	"errors"
	"testing"

	"github.com/eventd-io/eventd/event"
)

// TestStepsInParts: an error of all says that none is stored; that of a part is in
// the steps of that part.
func TestStepsInParts(t *testing.T) {
	for _, c := range []struct {
		name         string
		most, stored int // steps at once, and before the store fails
		all          bool
		failed       int
	}{
		{name: "all at once", most: 8, stored: 8},
		{name: "none", most: 8, stored: 0, all: true},
		{name: "in parts", most: 2, stored: 8},
		{name: "the first part", most: 2, stored: 0, all: true},
		{name: "a part in the first half", most: 2, stored: 2, failed: 6},
		{name: "the second half", most: 4, stored: 4, failed: 4},
		{name: "the last part", most: 1, stored: 7, failed: 1},
	} {
		list := make([]*event.Update, 8)
		for i := range list {
			list[i] = &event.Update{Seq: uint64(i)}
		}
		stored := 0
		err := inParts(list, func(part []*event.Update) error {
			if len(part) > c.most {
				return event.ErrTooMuch
			}
			if stored == c.stored {
				return ErrClosed
			}
			stored += len(part)
			return nil
		})
		failed := 0
		for i, u := range list {
			if u.Err != nil {
				failed++
			}
			if u.Err == nil != (i < c.stored) && !c.all {
				t.Errorf("%s: step %d: %v", c.name, i, u.Err)
			}
		}
		if errors.Is(err, ErrClosed) != c.all || failed != c.failed {
			t.Errorf("%s: %v, and the errors of %d; want it to be of all: %t, and %d", c.name, err, failed, c.all, c.failed)
		}
	}
}
