package event

import "strconv"

// Reason says in one word why an event is where it is. The list is fixed, so
// that people can filter and alert on it; free text goes into a detail.
type Reason string

// Reasons of ERROR and FAILED.
const (
	NoRoute     Reason = "no_route"    // no route matches, or its handler is gone
	Undecodable Reason = "undecodable" // the message is no event in any known form
	Invalid     Reason = "invalid"     // the payload breaks its schema
	Rejected    Reason = "rejected"    // the handler gave a permanent answer
	BadReply    Reason = "bad_reply"   // the handler's follow-up events cannot be taken
	Expired     Reason = "expired"     // its time ran out before it was handled
	Loop        Reason = "loop"        // more than [MaxHops] follow-ups in a row
	Gone        Reason = "gone"        // the handler answered 410
	TooLarge    Reason = "too_large"   // too large to be sent on
	Exhausted   Reason = "exhausted"   // attempts or time used up
	Poison      Reason = "poison"      // in flight in [PoisonAfter] crashes in a row
	Cancelled   Reason = "cancelled"   // a person gave it up
)

// Reasons of RETRY, beside [HTTPStatus].
const (
	Timeout          Reason = "timeout"
	Refused          Reason = "refused" // connection refused
	Network          Reason = "network" // any other failure to exchange bytes
	NATSNoResponders Reason = "nats_no_responders"
	ClaimExpired     Reason = "claim_expired" // the lease of a claim ran out
	ClaimFailed      Reason = "claim_failed"  // who had claimed it says that it failed
	Interrupted      Reason = "interrupted"   // eventd ended while the attempt ran
	Publish          Reason = "publish"       // no PubAck from JetStream
)

// Reasons of notes and acts that are no failure.
const (
	Duplicate Reason = "duplicate" // the same event arrived again and was not stored twice
	Redriven  Reason = "redriven"  // a person or a reload asked for it again
)

// MaxHops is how many follow-ups may stand in a row before a loop is assumed.
const MaxHops = 16

// PoisonAfter is the number of crashes in a row after which an event that was
// in flight in each of them is given up.
const PoisonAfter = 3

// HTTPStatus returns the reason for an HTTP status code: http_503 for 503.
func HTTPStatus(code int) Reason { return Reason("http_" + strconv.Itoa(code)) }

// Quarantined is the reason shown for an event whose record in the store is damaged.
const Quarantined Reason = "quarantined"
