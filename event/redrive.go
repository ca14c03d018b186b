package event

import "time"

// RedriveOrder asks for one event to be handled again.
type RedriveOrder struct {
	Handler string // instead of the deliveries it has; "" for those
	Detail  string // why, for the timeline
	By      string // the service or person that asks
	// Of names a handler: only its delivery is meant, "" for all. The others stay
	// as they are, and what they are does not matter.
	Of  string
	Job uint64 // the ID of the [Redrive] it is part of; 0 for none
	// Payload goes out in place of the one so far when it is not nil.
	Payload []byte
}

// CancelOrder asks for one event to be given up.
type CancelOrder struct {
	Of     string // only the delivery to this handler; "" for all
	Detail string // why, for the timeline
	By     string // the service or person that asks
}

// Redrive is a durable job that redrives many events. The set of them is fixed
// when it starts: those up to Last that its filter selects and that have not
// changed since. It goes through them in the order they were stored, so that
// Position alone says which are behind it.
type Redrive struct {
	ID       uint64 // ascending; given by the store
	Filter   Filter
	Order    RedriveOrder
	Rate     float64 // events a second; 0 for as fast as it goes
	State    RedriveState
	Created  time.Time // an event changed after this time is left alone
	Ended    time.Time // zero while it runs
	Last     uint64    // Seq of the last event stored when it started
	Position uint64    // Seq of the last event it is done with
	Done     int       // redriven
	Skipped  int       // changed since the start, or in no status to be redriven
	Failed   int       // could not be read
	// Waiting is why it makes no progress now; "" while it does. It is not stored.
	Waiting string
}

// RedriveState says where a [Redrive] stands.
type RedriveState string

// The states of a redrive. They are stored.
const (
	RedriveRunning   RedriveState = "RUNNING"
	RedriveCompleted RedriveState = "COMPLETED"
	RedriveCancelled RedriveState = "CANCELLED"
)

// Handlers returns the handlers that a redrive is about; none when it may be
// about any.
func (r *Redrive) Handlers() (names []string) {
	for _, name := range []string{r.Filter.Handler, r.Order.Handler} {
		if name != "" && (len(names) == 0 || names[0] != name) {
			names = append(names, name)
		}
	}
	return names
}

// Overlaps reports whether two redrives may be about the same handler.
func (r *Redrive) Overlaps(other *Redrive) bool {
	mine, theirs := r.Handlers(), other.Handlers()
	if len(mine) == 0 || len(theirs) == 0 {
		return true
	}
	for _, a := range mine {
		for _, b := range theirs {
			if a == b {
				return true
			}
		}
	}
	return false
}

// RedrivePlan tells what a [Redrive] would be about.
type RedrivePlan struct {
	Events        int
	Complete      bool // false: there are more, counting them took too long
	ByStatus      map[string]int
	ByMessageType map[string]int // those behind the first [MaxPlanNames] are counted as ""
	ByHandler     map[string]int
	ByReason      map[string]int
	Samples       []Record
}

// MaxPlanNames bounds the different names in each count of a [RedrivePlan], and
// MaxPlanSamples the samples.
const (
	MaxPlanNames   = 100
	MaxPlanSamples = 10
)
