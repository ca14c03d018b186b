package wire

// Problem is an error answer in the form of RFC 9457, application/problem+json.
type Problem struct {
	Type       string  `json:"type,omitempty" format:"uri-reference" doc:"Left out: the title says what is meant."`
	Title      string  `json:"title" doc:"The HTTP status in words." example:"Conflict"`
	Status     int     `json:"status" doc:"The HTTP status." example:"409"`
	Detail     string  `json:"detail,omitempty" doc:"What went wrong this time, for people."`
	Instance   string  `json:"instance,omitempty" format:"uri-reference"`
	Errors     []Fault `json:"errors,omitempty" nullable:"false" doc:"Each single fault, where there are several or one has a place."`
	Candidates []Row   `json:"candidates,omitempty" nullable:"false" doc:"The events that are meant, when an id names several."`
	// EventStatus is the status that stands in the way.
	EventStatus string `json:"event_status,omitempty" doc:"The event's status, when that does not allow the step."`
}

// Fault is one of the things that are wrong.
type Fault struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"Where in the request: query.since, body.handler." example:"query.since"`
	Value    any    `json:"value,omitempty" doc:"What stood there."`
}
