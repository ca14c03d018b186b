// Package router decides which handlers an event goes to, and leads it from
// acceptance to its final status.
//
// # Invariants
//
//   - [Router.Accept] returns only after events, payloads and deliveries are
//     committed. Who sent them may be told so then, and not before.
//   - An attempt is counted in the store before the handler is called, so that
//     executions never exceed the attempts on record.
//   - An outcome, its timeline entry, its follow-up events and its dead letter
//     are one transaction.
//   - The store alone knows what is due. What a dispatcher holds in memory are
//     attempts that are counted already, bounded in number and bytes; what is not
//     sent is handed back uncounted, or shows as interrupted after a crash.
//   - Whoever makes something due wakes its dispatcher after the commit, or asks
//     for a reconciliation where the configuration has none: nothing waits
//     without someone who will look.
//   - No handler waits for another: each has a dispatcher with slots, a queue, a
//     pause and a rest of its own.
//
// # Reading order
//
// router.go (start, stop, reload), accept.go (acceptance), table.go and when.go
// (which route), remember.go and working.go (working data), expiry.go, fit.go
// (schemas), order.go (order keys), dispatcher.go and bytes.go (a handler's slots
// and room), ramp.go and health.go (what closes it off, and its return), fill.go
// (taking what is due), fair.go (fresh ones beside retries), flow.go (how many
// attempts are counted ahead), pace.go (when a source waits), attempt.go (one
// execution), outcome.go (storing what came of it), settle.go (the pure decision
// what an answer means), step.go (how a change is stored and told), deadletter.go,
// operate.go (what people ask for), redrives.go and jobs.go (redrives of many
// events), recover.go (after a crash), reconcile.go (after a reload), claim.go,
// claimed.go and lease.go (services that poll), async.go (handlers that take an
// event over).
package router
