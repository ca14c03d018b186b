// Package wire holds the JSON that the HTTP API speaks: the shapes that the
// server writes and the client reads. Nothing is decided here.
//
// Invariants: every field of a row is always there. A text that is not set is
// "", a time that is not set is null, a list is never null. Times are UTC with
// nine digits of fraction, so that they sort as text.
//
// Reading order: [Row], then [Detail] (all that is known of one id), then the
// rest as needed. The tags doc, example, enum and nullable end up in the
// OpenAPI description.
package wire

import (
	"encoding/json"

	"github.com/eventd-io/eventd/event"
)

// Row is one event as it stands in its table. Where an event has several
// deliveries, route, handler, attempts, next_attempt_dttm and generation are
// those of the delivery that decides its status: the least finished one.
type Row struct {
	Table           string `json:"table" enum:"inbound,request,response" doc:"The event table."`
	EventID         string `json:"event_id"`
	MessageType     string `json:"message_type" doc:"Empty for what could not be decoded."`
	Status          string `json:"status" enum:"UNPROCESSED,IN_PROGRESS,COMPLETED,RETRY,ERROR,FAILED"`
	Reason          string `json:"reason" doc:"Why the status is what it is; empty when the status says all." example:"exhausted"`
	SourceService   string `json:"source_service" doc:"The service the event comes from."`
	TargetService   string `json:"target_service" doc:"The service it is meant for."`
	Topic           string `json:"topic" doc:"The subject it was received on; empty for events made inside."`
	CorrelationID   string `json:"correlation_id" doc:"The conversation it belongs to."`
	CausationID     string `json:"causation_id" doc:"The event that caused it; empty for the first of a conversation."`
	Route           string `json:"route"`
	Handler         string `json:"handler"`
	Attempts        int    `json:"attempts" doc:"Executions recorded in this generation."`
	NextAttemptDttm Time   `json:"next_attempt_dttm" nullable:"true" format:"date-time" doc:"When RETRY is due."`
	Generation      int    `json:"generation" doc:"How often it has been redriven."`
	CreatedBy       string `json:"created_by" doc:"The service that caused the event."`
	CreatedDttm     Time   `json:"created_dttm" format:"date-time"`
	UpdatedBy       string `json:"updated_by" doc:"The service that caused the last change."`
	UpdatedDttm     Time   `json:"updated_dttm" nullable:"true" format:"date-time"`
	Source          string `json:"source" doc:"The configured source it came through, or schedules/NAME; empty for the API and replies."`
	ContentType     string `json:"content_type" doc:"Of the payload."`
	Hops            int    `json:"hops" doc:"Follow-ups between the first event and this one."`
	DeliverAtDttm   Time   `json:"deliver_at_dttm" nullable:"true" format:"date-time" doc:"Not handed to a handler before."`
	ExpiresDttm     Time   `json:"expires_dttm" nullable:"true" format:"date-time" doc:"Not handed to a handler after."`
}

// List is one page of rows.
type List struct {
	Events     []Row  `json:"events" nullable:"false"`
	NextCursor string `json:"next_cursor" doc:"Ask again with this cursor for the next page; empty on the last. A page may have fewer events than asked for, or none, and still have one."`
}

// Detail is all that is known of one event id over all tables.
type Detail struct {
	Rows       []Row      `json:"rows" nullable:"false" doc:"One for each table and source service, oldest first."`
	Payloads   []Payload  `json:"payloads" nullable:"false" doc:"Bodies that crossed a boundary."`
	Timeline   []Entry    `json:"timeline" nullable:"false" doc:"What happened, oldest first."`
	Deliveries []Delivery `json:"deliveries" nullable:"false" doc:"Each handler's share."`
}

// Ref tells whose row a payload, an entry or a delivery belongs to.
type Ref struct {
	Table       string `json:"table" enum:"inbound,request,response" doc:"Table of the row it belongs to."`
	EventSource string `json:"event_source" doc:"source_service of the row it belongs to."`
}

// Encodings of [Payload].
const (
	EncodingJSON    = "json"    // payload is the JSON value itself
	EncodingText    = "text"    // payload is a string
	EncodingBase64  = "base64"  // payload is a string with the bytes in base64
	EncodingOmitted = "omitted" // payload is null because it is too large
	EncodingRemoved = "removed" // payload is null because retention removed it
)

// Payload is one row of the payload table.
type Payload struct {
	Ref
	N             int             `json:"n" doc:"Its number within the row, for GET …/payload?n=; 0 is what was received."`
	EventID       string          `json:"event_id"`
	Topic         string          `json:"topic" doc:"The subject it came or went on."`
	SourceService string          `json:"source_service"`
	TargetService string          `json:"target_service"`
	Payload       json.RawMessage `json:"payload" doc:"The body, as payload_encoding says."`
	Encoding      string          `json:"payload_encoding" enum:"json,text,base64,omitted,removed" doc:"json: the value itself; text: a string; base64: bytes; omitted: over 256 KiB, get it from …/payload; removed: its time was over (store.retention)."`
	Size          int             `json:"size" doc:"Bytes."`
	ContentType   string          `json:"content_type"`
	CreatedBy     string          `json:"created_by"`
	CreatedDttm   Time            `json:"created_dttm" format:"date-time"`
}

// Entry is one line of a timeline.
type Entry struct {
	Ref
	At         Time    `json:"at" format:"date-time"`
	Status     string  `json:"status" doc:"The status it took, or the one it kept when this is a note."`
	Attempt    int     `json:"attempt" doc:"0 when no attempt is meant."`
	Handler    string  `json:"handler"`
	Reason     string  `json:"reason"`
	Detail     string  `json:"detail" doc:"Free text, up to 8 KiB of the handler's answer."`
	Code       int     `json:"code" doc:"HTTP status, 0 for none."`
	DurationMS float64 `json:"duration_ms" doc:"Milliseconds the attempt took."`
}

// Delivery is one handler's share of an event.
type Delivery struct {
	Ref
	Handler          string `json:"handler"`
	Route            string `json:"route"`
	Status           string `json:"status" enum:"UNPROCESSED,IN_PROGRESS,COMPLETED,RETRY,ERROR,FAILED"`
	Reason           string `json:"reason"`
	Attempts         int    `json:"attempts" doc:"Executions recorded in this generation."`
	Uncharged        int    `json:"uncharged" doc:"Those of them that do not count against the retry policy."`
	Interruptions    int    `json:"interruptions" doc:"Crashes in a row that found it in flight."`
	Generation       int    `json:"generation" doc:"How often it has been redriven."`
	FirstAttemptDttm Time   `json:"first_attempt_dttm" nullable:"true" format:"date-time"`
	NextAttemptDttm  Time   `json:"next_attempt_dttm" nullable:"true" format:"date-time"`
}

// Receipt says what became of one event that was sent in.
type Receipt struct {
	Table     string `json:"table" enum:"inbound,request,response"`
	EventID   string `json:"event_id"`
	Duplicate bool   `json:"duplicate" doc:"It was stored before; nothing new was."`
}

// Accepted answers POST /v1/events.
type Accepted struct {
	Events []Receipt `json:"events" nullable:"false" doc:"In the order they were sent."`
}

// Redrive is the body of a redrive. All of it is optional.
type Redrive struct {
	_        struct{} `additionalProperties:"false"`
	Delivery string   `json:"delivery,omitempty" maxLength:"256" doc:"Only the delivery to this handler, whatever it and the others are."`
	Handler  string   `json:"handler,omitempty" maxLength:"256" doc:"Hand it to this handler instead of those it has; with delivery, instead of that one."`
	Reason   string   `json:"reason,omitempty" maxLength:"1024" doc:"Why, for the timeline."`
	// Payload goes out from now on; the one so far is kept.
	Payload  json.RawMessage `json:"payload,omitempty" doc:"Goes out from now on instead of the payload so far, which is kept. Any JSON value; a string where the event's content_type is not JSON."`
	Encoding string          `json:"payload_encoding,omitempty" enum:"json,text,base64" doc:"How payload is to be read: json: the value itself; text: the string; base64: the bytes in it. By the event's content_type when left out."`
}

// Cancel is the body of a cancellation. All of it is optional.
type Cancel struct {
	_        struct{} `additionalProperties:"false"`
	Delivery string   `json:"delivery,omitempty" maxLength:"256" doc:"Only the delivery to this handler."`
	Reason   string   `json:"reason,omitempty" maxLength:"1024" doc:"Why, for the timeline."`
}

// Changed answers a redrive or a cancellation.
type Changed struct {
	Event Row `json:"event" doc:"The event after the change."`
}

// Claim is the body of a claim. All of it is optional.
type Claim struct {
	_     struct{} `additionalProperties:"false"`
	Max   int      `json:"max,omitempty" minimum:"1" maximum:"1000" default:"1" doc:"At most so many events."`
	Lease string   `json:"lease,omitempty" doc:"How long they are the claimer's, from 1s to 12h; as configured when left out." example:"30s"`
	Wait  string   `json:"wait,omitempty" doc:"How long to wait for the first one, at most 60s; 0s when left out." example:"20s"`
}

// Claims answers a claim.
type Claims struct {
	Claims   []Claimed `json:"claims" nullable:"false" doc:"Those that wait longest first; none when there is none."`
	TooLarge int       `json:"too_large,omitempty" doc:"With max_bytes: how many that are due were met that are too large for any such answer. They wait for a claim that can take them."`
}

// Claimed is one event that is the claimer's until its lease runs out.
type Claimed struct {
	ClaimID    string          `json:"claim_id" doc:"Names this attempt."`
	LeaseUntil Time            `json:"lease_until" format:"date-time"`
	Attempt    int             `json:"attempt" doc:"1 for the first."`
	Event      Row             `json:"event"`
	Payload    json.RawMessage `json:"payload" doc:"The body, as payload_encoding says."`
	Encoding   string          `json:"payload_encoding" enum:"json,text,base64" doc:"json: the value itself; text: a string; base64: bytes."`
}

// ClaimFailure is the body of a claim that failed. All of it is optional.
type ClaimFailure struct {
	_      struct{} `additionalProperties:"false"`
	Reason string   `json:"reason,omitempty" maxLength:"8192" doc:"What went wrong, for the timeline."`
	Retry  *bool    `json:"retry,omitempty" doc:"false: trying again would not help, ERROR. RETRY when left out."`
	Delay  string   `json:"delay,omitempty" doc:"With retry: not before, where the policy would be sooner; at most 168h." example:"5s"`
}

// Extension is the body of an extension. All of it is optional.
type Extension struct {
	_     struct{} `additionalProperties:"false"`
	Lease string   `json:"lease,omitempty" doc:"From now on, from 1s to 12h; as configured when left out." example:"30s"`
}

// Extended answers an extension.
type Extended struct {
	LeaseUntil Time `json:"lease_until" format:"date-time"`
}

// Switched answers a pause or a resume.
type Switched struct {
	Name   string `json:"name"`
	Paused bool   `json:"paused"`
}

// Sources answers GET /v1/sources.
type Sources struct {
	Sources []event.SourceInfo `json:"sources" nullable:"false"`
}

// Routes answers GET /v1/routes.
type Routes struct {
	Routes []event.RouteInfo `json:"routes" nullable:"false" doc:"In the order they are tried."`
}

// Handlers answers GET /v1/handlers.
type Handlers struct {
	Handlers []event.HandlerInfo `json:"handlers" nullable:"false"`
}

// Schedules answers GET /v1/schedules.
type Schedules struct {
	Schedules []event.ScheduleInfo `json:"schedules" nullable:"false" doc:"In the order of their names."`
}

// Status answers GET /v1/status.
type Status struct {
	Service       string                    `json:"service"`
	Version       string                    `json:"version"`
	StartedDttm   Time                      `json:"started_dttm" format:"date-time"`
	UptimeSeconds float64                   `json:"uptime_seconds"`
	Ready         bool                      `json:"ready"`
	Problems      []string                  `json:"problems" nullable:"false" doc:"Why it is not ready."`
	Connected     bool                      `json:"connected" doc:"To NATS."`
	Counts        map[string]map[string]int `json:"counts" doc:"Number of events by table and status."`
	Oldest        map[string]Time           `json:"oldest" doc:"When the oldest open event of a status was created."`
	Handlers      []event.HandlerInfo       `json:"handlers" nullable:"false"`
	Sources       []event.SourceInfo        `json:"sources" nullable:"false"`
	Store         event.StoreInfo           `json:"store"`
}

// Explained answers POST /v1/explain.
type Explained struct {
	Events []ExplainedEvent `json:"events" nullable:"false" doc:"In the order they were sent."`
}

// ExplainedEvent tells where one event would go.
type ExplainedEvent struct {
	EventID     string              `json:"event_id" doc:"Empty when the event names none."`
	MessageType string              `json:"message_type"`
	Table       string              `json:"table" enum:"inbound,request,response"`
	Handlers    []string            `json:"handlers" nullable:"false" doc:"Who would get it; empty when no route matches, or the payload fits the schema of none that does."`
	Routes      []event.Explanation `json:"routes" nullable:"false" doc:"Each route's verdict, in order."`
}

// Reloaded answers POST /v1/reload.
type Reloaded struct {
	Reloaded bool `json:"reloaded"`
}

// Config answers GET /v1/config when JSON is asked for.
type Config struct {
	YAML string `json:"yaml" doc:"The configuration in force, secrets redacted."`
}

// Ready answers GET /readyz when it is ready and JSON is asked for.
type Ready struct {
	Ready bool `json:"ready"`
}
