package wire

import "encoding/json"

// Conversation is all that belongs to one correlation id.
type Conversation struct {
	CorrelationID string       `json:"correlation_id"`
	Rows          []Row        `json:"rows" nullable:"false" doc:"Of all tables, in the order they were stored."`
	Payloads      []Payload    `json:"payloads" nullable:"false" doc:"Bodies that crossed a boundary, in the order of the rows. Without payloads=true, and after 4 MiB of them, they are omitted and their size stands for them."`
	Waits         []Wait       `json:"waits" nullable:"false" doc:"How long it took from one row to the next, and from requests to their responses."`
	WorkingData   *WorkingData `json:"working_data,omitempty" doc:"Left out where there is none."`
	Truncated     bool         `json:"truncated" doc:"There are more rows; GET /v1/events?correlation_id= pages through all."`
}

// WorkingData is the document of a conversation.
type WorkingData struct {
	Document    json.RawMessage `json:"document" doc:"The JSON object."`
	Version     uint64          `json:"version" doc:"1 when it was made, one more with each change."`
	ETag        string          `json:"etag" doc:"For If-Match."`
	CreatedBy   string          `json:"created_by"`
	CreatedDttm Time            `json:"created_dttm" format:"date-time"`
	UpdatedBy   string          `json:"updated_by" doc:"The service that caused the last change."`
	UpdatedDttm Time            `json:"updated_dttm" format:"date-time"`
}

// Kinds of a [Wait].
const (
	WaitNext   = "next"   // from a row to the one stored after it
	WaitAnswer = "answer" // from a request to the response with its id
)

// Wait is the time between two rows.
type Wait struct {
	Kind       string   `json:"kind" enum:"next,answer" doc:"next: from a row to the one stored after it; answer: from a request to the response with its id."`
	From       EventRef `json:"from"`
	To         EventRef `json:"to"`
	DurationMS float64  `json:"duration_ms" doc:"Milliseconds between their created_dttm."`
}

// EventRef names a row.
type EventRef struct {
	Table         string `json:"table" enum:"inbound,request,response"`
	SourceService string `json:"source_service"`
	EventID       string `json:"event_id"`
	MessageType   string `json:"message_type"`
}
