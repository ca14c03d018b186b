// Package daemon builds eventd from a configuration, starts and stops its parts
// in order, and reloads it.
//
// Started in this order and stopped in the reverse: store, NATS, router,
// listeners, outbox, sources, schedules. Whatever can fail while a configuration is
// reloaded fails before anything that runs is touched.
package daemon
