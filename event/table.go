// Package event is eventd's data model: what an event is, which statuses it
// goes through, which steps between them are legal, and the plain values that
// the other packages hand to each other.
//
// It imports the standard library only, and every other package may import it.
//
// Reading order: [Event] (what never changes), [State] and [Delivery] (what
// does), [Status] and [CanStep] (how), [Message] (on its way in), [Attempt]
// and [Answer] (on its way to a handler and back).
package event

import "fmt"

// Table names one of the three event tables.
type Table uint8

// The event tables. Their numbers are stored: never renumber them.
const (
	Inbound  Table = 1 // received from an external system, starts something here
	Request  Table = 2 // made inside: by a service through the API, or by a handler's reply
	Response Table = 3 // received from an external system in answer to something sent
)

// Tables lists every table in the order people read them.
var Tables = []Table{Inbound, Request, Response}

var tableNames = [...]string{Inbound: "inbound", Request: "request", Response: "response"}

// String returns the table's name as it stands in JSON and in the file.
func (t Table) String() string {
	if int(t) < len(tableNames) && tableNames[t] != "" {
		return tableNames[t]
	}
	return fmt.Sprintf("Table(%d)", uint8(t))
}

// ParseTable returns the table with the given name.
func ParseTable(s string) (Table, error) {
	for _, t := range Tables {
		if tableNames[t] == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("no table is named %q (inbound, request or response)", s)
}

// MarshalText implements [encoding.TextMarshaler].
func (t Table) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (t *Table) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTable(string(b))
	return err
}
