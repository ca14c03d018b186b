package event

import (
	"fmt"
	"strings"
)

// OnFailure says what the later events of an order key do while the one in front
// of them fails. The numbers are stored.
type OnFailure uint8

const (
	// Block lets them wait: for each retry, and when it has ended as ERROR or
	// FAILED until a person redrives or cancels it.
	Block OnFailure = iota
	// Park lets them wait for each retry, and go on once it has ended.
	Park
	// Skip lets them go on while it waits for its retry, too.
	Skip
)

var onFailureNames = [...]string{Block: "block", Park: "park", Skip: "skip"}

// String returns the word that the configuration has for it.
func (f OnFailure) String() string {
	if int(f) < len(onFailureNames) {
		return onFailureNames[f]
	}
	return fmt.Sprintf("OnFailure(%d)", uint8(f))
}

// ParseOnFailure returns what a word of the configuration stands for; "" is block.
func ParseOnFailure(s string) (OnFailure, error) {
	if s == "" {
		return Block, nil
	}
	for i, name := range onFailureNames {
		if s == name {
			return OnFailure(i), nil // few
		}
	}
	return 0, fmt.Errorf("%q is none of %s", s, strings.Join(onFailureNames[:], ", "))
}

// MaxOrderKey is how many bytes an order key may have: what is longer is cut, and
// told apart by a hash.
const MaxOrderKey = 256

// Ordered reports whether a delivery is to be made in order with others.
func (d *Delivery) Ordered() bool { return d.OrderKey != "" }

// Holds reports whether a delivery that is ordered has a place before those of
// its order key that came after it. What waits for its retry with [Skip] gives
// its place up for that time.
func (d *Delivery) Holds() bool {
	switch d.Status {
	case Unprocessed, InProgress:
		return d.Ordered()
	case Retry:
		return d.Ordered() && d.OnFailure != Skip
	case Error, Failed:
		return d.Ordered() && d.blocks()
	default:
		return false
	}
}

// blocks reports whether a delivery that is ERROR or FAILED keeps those behind it
// waiting. One whose handler is gone has not failed: it goes on when the handler
// is back, and before those that come then. One that was given up by a person, or
// came too late to be of use, keeps nobody waiting.
func (d *Delivery) blocks() bool {
	switch d.Reason {
	case NoRoute:
		return d.Status == Error
	case Cancelled, Expired:
		return false
	default:
		return d.OnFailure == Block
	}
}

// OrderHead is an event that keeps the later ones of its order key waiting:
// it is RETRY, ERROR or FAILED.
type OrderHead struct {
	Handler  string
	Key      string
	Record   Record
	Delivery int // of the event
	// Waiting is how many wait behind it; More says that there are more than that.
	Waiting int
	More    bool
}
