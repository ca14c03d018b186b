package event

import "time"

// MaxDocument is how large the working data of a conversation may be, in bytes.
const MaxDocument = 1 << 20

// Document is the working data of a conversation: one JSON object for all
// events with the same correlation id.
type Document struct {
	CorrelationID string
	Body          []byte // the JSON object
	Version       uint64 // 1 when it is made, one more with each change; 0 for none
	CreatedBy     string
	CreatedAt     time.Time
	UpdatedBy     string
	UpdatedAt     time.Time
}

// Amend makes the next body of a document from the one it has; nil stands for
// none. Like a step it runs in the store's writer: it must be quick and must not
// call the store. An error leaves the document as it is.
type Amend func(body []byte) ([]byte, error)

// Amendment asks for the working data of a conversation to be changed.
type Amendment struct {
	CorrelationID string
	By            string // the service that asks
	Body          []byte // a JSON object: the whole document, or what to merge into it
	Merge         bool   // as RFC 7396 has it: null takes a member out
	// Check is given the document as it is when it is changed, of version 0 for
	// none; its error leaves the document so. nil for any.
	Check func(Document) error
}
