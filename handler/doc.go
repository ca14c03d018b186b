// Package handler is the ways an event leaves eventd: POSTed to an HTTP
// endpoint over TCP or a unix socket, sent as a NATS request, published to
// JetStream, or written to the log; and what the answer to it means.
//
// Each kind has a Deliver(ctx, attempt), which makes one attempt and returns an
// [event.Answer] that says all; there is no error beside it. What holds always:
//   - One Deliver is at most one execution: redirects are not followed and
//     nothing is sent a second time.
//   - Deliver ends within the handler's timeout, or soon after its context ends;
//     the answer is then `interrupted`. In a [Batch] the timeout begins with the
//     request.
//   - Of an answer at most [MaxReply] bytes are read, of one to a batch
//     [MaxBatchReply], and [event.MaxDetail] kept.
//   - A handler shares no connection and no state with another.
//
// Deliver may be called by many goroutines. Close comes after the last Deliver
// has returned.
//
// Reading order: classify.go (what a status means, the part without I/O),
// http.go (one attempt), pool.go and connection.go (how requests leave), reply.go
// (follow-ups and details), batch.go and results.go (many events in a request),
// nats.go, topic.go, log.go.
package handler
