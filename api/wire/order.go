package wire

// Order answers GET /v1/handlers/{name}/order.
type Order struct {
	Handler string      `json:"handler"`
	Keys    []OrderHead `json:"keys" nullable:"false" doc:"Those that wait until somebody acts first."`
	More    bool        `json:"more" doc:"There are more than are listed."`
}

// OrderHead is an order key that waits, and the event it waits for.
type OrderHead struct {
	OrderKey        string `json:"order_key"`
	OnFailure       string `json:"on_failure" enum:"block,park,skip" doc:"Of the event it waits for."`
	Table           string `json:"table" enum:"inbound,request,response"`
	SourceService   string `json:"source_service"`
	EventID         string `json:"event_id" doc:"The event it waits for."`
	Status          string `json:"status" enum:"UNPROCESSED,IN_PROGRESS,COMPLETED,RETRY,ERROR,FAILED" doc:"RETRY, ERROR or FAILED."`
	Reason          string `json:"reason"`
	Attempts        int    `json:"attempts"`
	NextAttemptDttm Time   `json:"next_attempt_dttm" nullable:"true" format:"date-time" doc:"When RETRY is due."`
	UpdatedDttm     Time   `json:"updated_dttm" nullable:"true" format:"date-time"`
	Waiting         int    `json:"waiting" doc:"How many wait behind it."`
	WaitingMore     bool   `json:"waiting_more" doc:"There are more than that."`
}
