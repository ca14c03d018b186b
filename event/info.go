package event

import "time"

// Filter selects records. Empty fields select everything.
type Filter struct {
	Table         Table
	Status        Status
	MessageType   string
	Handler       string
	Route         string
	Reason        Reason
	SourceService string
	CorrelationID string
	Since, Until  time.Time // of creation; Since included, Until not
	// Unanswered selects requests that were sent at or before it and await their
	// response; zero for any events.
	Unanswered time.Time
	// DeadLetters selects what is ERROR or FAILED; Status is then 0.
	DeadLetters bool
}

// Page is what to return of the records that a [Filter] selects.
type Page struct {
	Limit       int    // at least 1
	After       uint64 // continue behind the record with this Seq; 0 from the start
	OldestFirst bool
	Last        uint64 // no record with a greater Seq; 0 for no bound
}

// Counts is the number of events by table and status.
type Counts map[Table]map[Status]int

// HandlerInfo tells how a handler stands.
type HandlerInfo struct {
	Name        string    `json:"name"`
	Kind        string    `json:"kind"`
	Service     string    `json:"service"`
	Target      string    `json:"target"` // URL, subject or path, without secrets
	Concurrency int       `json:"concurrency"`
	InFlight    int       `json:"in_flight"`
	Claims      int       `json:"claims"`       // by services, of a polled handler, or taken over by an asynchronous one
	Queue       int       `json:"queue"`        // due now, waiting for a slot
	Retries     int       `json:"retries"`      // scheduled for later
	Overdue     int       `json:"overdue"`      // requests sent whose response has not come in time
	BlockedKeys int       `json:"blocked_keys"` // order keys that wait for an event that is ERROR or FAILED
	Paused      bool      `json:"paused"`
	PauseReason string    `json:"pause_reason,omitempty"` // manual, gone
	RestUntil   time.Time `json:"rest_until,omitzero"`
	// BreakerUntil is set while its breaker is not closed: until then nothing is
	// tried, and one attempt decides afterwards.
	BreakerUntil time.Time `json:"breaker_until,omitzero"`
	// UnhealthySince is set while it is handed nothing as probes of its health
	// fail. HealthProblem is what the last probe found, also before that.
	UnhealthySince time.Time `json:"unhealthy_since,omitzero"`
	HealthProblem  string    `json:"health_problem,omitempty"`
	// RateLimited: events are due, and its rate_limit lets none begin right now.
	RateLimited bool `json:"rate_limited,omitempty"`
	// Ramp is how many attempts may run at the same time for now, as it begins
	// gently after it was closed off; 0 for its concurrency.
	Ramp int `json:"ramp,omitempty"`
}

// SourceInfo tells how a source stands.
type SourceInfo struct {
	Name       string `json:"name"`
	Subject    string `json:"subject"`
	Stream     string `json:"stream"`
	Consumer   string `json:"consumer"`
	Table      Table  `json:"table"`
	Connected  bool   `json:"connected"`
	Paused     bool   `json:"paused"`
	Held       bool   `json:"held,omitempty"`    // by eventd, as the store takes no new events
	Problem    string `json:"problem,omitempty"` // why it is not receiving
	Pending    uint64 `json:"pending"`           // in the stream, not delivered yet
	AckPending int    `json:"ack_pending"`
}

// RouteInfo tells how a route is configured.
type RouteInfo struct {
	Name        string   `json:"name"`
	MessageType []string `json:"message_type"`
	Table       string   `json:"table,omitempty"`
	When        string   `json:"when,omitempty"`
	Handlers    []string `json:"handlers"`
	Continue    bool     `json:"continue,omitempty"`
	// Remember are CEL expressions by member of the working data.
	Remember map[string]string `json:"remember,omitempty"`
	Expires  string            `json:"expires,omitempty"` // a duration: 1h0m0s
	OrderBy  string            `json:"order_by,omitempty"`
	// OnFailure is block, park or skip, where there is an order.
	OnFailure string `json:"on_failure,omitempty"`
	Schema    string `json:"schema,omitempty"` // the file with the JSON Schema of the payload
}

// StoreInfo tells how the store stands. Sizes are in bytes.
type StoreInfo struct {
	Path        string               `json:"path"`
	Size        int64                `json:"size"`
	Free        int64                `json:"free"`               // inside the file, reusable
	MaxSize     int64                `json:"max_size,omitempty"` // of what is in use; 0 for no limit
	Full        string               `json:"full,omitempty"`     // why it takes no new events
	Outbox      int                  `json:"outbox"`
	Quarantined int                  `json:"quarantined"`
	Oldest      map[Status]time.Time `json:"-"` // creation of the oldest open event by status
}

// Explanation is one route's verdict on an event.
type Explanation struct {
	Route    string   `json:"route"`
	Matched  bool     `json:"matched"`
	Handlers []string `json:"handlers,omitempty"`
	OrderKey string   `json:"order_key,omitempty"`
	Why      string   `json:"why"` // one sentence
	// Flaw is set when the route takes the event, but its handlers do not get it,
	// as its payload does not fit the schema of the route, or its order key cannot
	// be evaluated.
	Flaw string `json:"flaw,omitempty"`
}

// Snapshot is what the gauges show, taken when someone asks.
type Snapshot struct {
	Counts    Counts
	Handlers  []HandlerInfo
	Sources   []SourceInfo
	Store     StoreInfo
	Connected bool // to NATS
}
