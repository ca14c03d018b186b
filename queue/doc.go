// Package queue is eventd's only contact with NATS: messages in, publications
// out, and the server that may run inside the process.
//
// # Invariants
//
//   - A message is acknowledged after [Intake.Accept] has returned nil for it,
//     and never before.
//   - A publication counts as published with its PubAck, and never before.
//     Nothing is buffered while the connection is down.
//   - What was claimed for somebody who is gone is released, as far as that can be
//     known; else its lease runs out.
//   - A consumer that exists is bound as it is. One that was deleted is made anew
//     behind the last position that is safely stored, never from the start.
//
// # Reading order
//
// conn.go and embedded.go (the connection), source.go (messages in),
// consumer.go (the durable consumer), publish.go, puback.go and outbox.go (messages out),
// claims.go, claims_call.go and unread.go (claims over NATS).
package queue
