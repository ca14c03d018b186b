package wire

// RedriveFilter selects events as the query of GET /v1/events does. Without a
// status it selects ERROR and FAILED.
type RedriveFilter struct {
	_             struct{} `additionalProperties:"false"`
	Table         string   `json:"table,omitempty" enum:"inbound,request,response"`
	Status        string   `json:"status,omitempty" enum:"UNPROCESSED,IN_PROGRESS,COMPLETED,RETRY,ERROR,FAILED" doc:"ERROR and FAILED when left out. What is UNPROCESSED or IN_PROGRESS is on its way and refused."`
	MessageType   string   `json:"message_type,omitempty" maxLength:"512"`
	Handler       string   `json:"handler,omitempty" maxLength:"256" doc:"Events with a delivery to it; of a fan-out event that delivery alone is redriven."`
	Route         string   `json:"route,omitempty" maxLength:"256"`
	Reason        string   `json:"reason,omitempty" maxLength:"256" example:"exhausted"`
	SourceService string   `json:"source_service,omitempty" maxLength:"512"`
	CorrelationID string   `json:"correlation_id,omitempty" maxLength:"512"`
	Since         string   `json:"since,omitempty" maxLength:"64" doc:"Created at this time (RFC 3339) or later, or not longer ago than a duration." example:"2h"`
	Until         string   `json:"until,omitempty" maxLength:"64" doc:"Created before this time (RFC 3339), or longer ago than a duration."`
}

// NewRedrive is the body of POST /v1/redrives.
type NewRedrive struct {
	_       struct{}      `additionalProperties:"false"`
	Filter  RedriveFilter `json:"filter,omitzero"`
	Rate    string        `json:"rate,omitempty" maxLength:"32" doc:"At most so many events a second, a minute or an hour; as fast as it goes when left out." example:"20/s"`
	DryRun  bool          `json:"dry_run,omitempty" doc:"Tell what it would be about, and change nothing."`
	Handler string        `json:"handler,omitempty" maxLength:"256" doc:"Hand them to this handler instead of those they have."`
	Reason  string        `json:"reason,omitempty" maxLength:"1024" doc:"Why, for the timelines."`
}

// RedriveAnswer answers POST /v1/redrives: with the job, or with what it would be.
type RedriveAnswer struct {
	Redrive *RedriveJob  `json:"redrive,omitempty" doc:"The job that was started; left out for a dry run."`
	DryRun  *RedrivePlan `json:"dry_run,omitempty" doc:"What the job would be about; left out for a real one."`
}

// RedriveJob is a redrive of many events.
type RedriveJob struct {
	ID          string        `json:"id"`
	State       string        `json:"state" enum:"RUNNING,COMPLETED,CANCELLED"`
	Waiting     string        `json:"waiting" doc:"Why it makes no progress now; empty while it does."`
	Filter      RedriveFilter `json:"filter" doc:"With times as they were when it began."`
	Rate        string        `json:"rate" doc:"Empty for as fast as it goes."`
	Handler     string        `json:"handler" doc:"The one they are handed to instead of those they have; empty for those."`
	Reason      string        `json:"reason"`
	CreatedBy   string        `json:"created_by"`
	CreatedDttm Time          `json:"created_dttm" format:"date-time"`
	EndedDttm   Time          `json:"ended_dttm" nullable:"true" format:"date-time"`
	Done        int           `json:"done" doc:"Events redriven."`
	Skipped     int           `json:"skipped" doc:"Events that had changed since it began, or could not be redriven as they were."`
	Failed      int           `json:"failed" doc:"Events that could not be read."`
	Progress    float64       `json:"progress" doc:"How much of the stored events it is through with, from 0 to 1."`
}

// RedrivePlan tells what a redrive would be about. Of more than 100 different
// names in a count, those met later stand together under "".
type RedrivePlan struct {
	Events        int            `json:"events" doc:"How many it would be about."`
	Complete      bool           `json:"complete" doc:"false: there are more, counting them would have taken too long."`
	ByStatus      map[string]int `json:"by_status"`
	ByMessageType map[string]int `json:"by_message_type"`
	ByHandler     map[string]int `json:"by_handler" doc:"Deliveries, by the handler they have now."`
	ByReason      map[string]int `json:"by_reason"`
	Samples       []Row          `json:"samples" nullable:"false" doc:"The oldest ten."`
}

// Redrives answers GET /v1/redrives.
type Redrives struct {
	Redrives []RedriveJob `json:"redrives" nullable:"false" doc:"The newest first: those that run, and the last hundred that have ended."`
}
