package wire

import "encoding/json"

// NewEvent is the plain JSON form in which POST /v1/events and /v1/explain take
// an event, beside the forms of CloudEvents. Several stand in an array.
type NewEvent struct {
	_             struct{}        `additionalProperties:"false"`
	MessageType   string          `json:"message_type" minLength:"1" maxLength:"512"`
	EventID       string          `json:"event_id,omitempty" maxLength:"512" doc:"The same id again is a duplicate and not stored twice. A UUIDv7 when left out."`
	Payload       json.RawMessage `json:"payload,omitempty" doc:"Any JSON value; a string where content_type is not JSON."`
	ContentType   string          `json:"content_type,omitempty" doc:"Of the payload; application/json when left out."`
	SourceService string          `json:"source_service,omitempty" maxLength:"512" doc:"The service it comes from."`
	TargetService string          `json:"target_service,omitempty" maxLength:"512" doc:"The service it is meant for."`
	Topic         string          `json:"topic,omitempty" maxLength:"512" doc:"Kept with the event."`
	CorrelationID string          `json:"correlation_id,omitempty" maxLength:"512" doc:"The conversation it belongs to."`
	CausationID   string          `json:"causation_id,omitempty" maxLength:"512" doc:"The event that caused it."`
}
