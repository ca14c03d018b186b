// Package api is eventd's HTTP interface: events in, events looked at, events
// steered. It knows HTTP and the shape of the JSON, and nothing of stores,
// queues or routes: what it needs of them are the interfaces in ports.go.
//
// Invariants:
//   - An event is acknowledged only after [Intake.Accept] has returned.
//   - Every refusal is a problem of RFC 9457, whoever refuses.
//   - No request reaches a handler before its Host, its origin, its token and
//     the length of its body were looked at; [Health] alone is open to everyone.
//   - Nothing that was stored can run in a browser: payloads are downloads.
//   - What is registered is what /openapi.json describes.
//
// Reading order: ports.go (what it needs), api.go ([Options], [New]), guard.go
// (who gets in), operation.go (how a call is registered and described), then
// one file for each group of calls: send, list, show, payload, operate,
// overview, explain, control, later, health. The JSON is in api/wire, the
// client in api/client.
package api
