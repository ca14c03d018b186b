package envelope

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/eventd-io/eventd/event"
)

const specVersion = "1.0"

// checkAttributes holds the attributes of a CloudEvent against its
// specification, but for id: a reply may leave that to eventd.
func checkAttributes(a map[string]string) error {
	if err := checkRequired(a); err != nil {
		return err
	}
	for name := range a {
		if !cloudevents.IsExtensionNameValid(name) {
			return fmt.Errorf("CloudEvents attribute %s: a name holds letters a to z and digits only", quote(name))
		}
	}
	if v, ok := a["time"]; ok {
		if _, err := types.ParseTimestamp(v); err != nil {
			return fmt.Errorf("CloudEvents attribute time is no RFC 3339 time: %s", quote(v))
		}
	}
	if ct := a["datacontenttype"]; a["dataschema"] == "" && (ct == "" || ct == jsonType) && isPath(a["source"]) {
		return nil // as most are: the library would say so, too
	}
	source := types.ParseURIRef(a["source"])
	if source == nil {
		return fmt.Errorf("CloudEvents attribute source is no URI reference: %s", quote(a["source"]))
	}
	c := cloudevents.EventContextV1{ID: "any", Type: a["type"], Source: *source}
	if v, ok := a["datacontenttype"]; ok {
		c.DataContentType = &v
	}
	if v, ok := a["dataschema"]; ok {
		if c.DataSchema = types.ParseURI(v); c.DataSchema == nil {
			return fmt.Errorf("CloudEvents attribute dataschema is no URI: %s", quote(v))
		}
	}
	return firstFlaw(c.Validate())
}

// isPath reports whether a source is a relative URI reference without anything that
// could be wrong with it.
func isPath(source string) bool {
	for i := range len(source) {
		switch c := source[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return source != "" && !strings.HasPrefix(source, "//") // which begins a host
}

// firstFlaw returns the first of what the library complains about, always the same one.
func firstFlaw(flaws cloudevents.ValidationError) error {
	var names []string
	for name := range flaws {
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("CloudEvents attribute %s: %w", names[0], flaws[names[0]])
}

func checkRequired(a map[string]string) error {
	for _, name := range []string{"specversion", "type", "source"} {
		if strings.TrimSpace(a[name]) == "" {
			return fmt.Errorf("CloudEvents attribute %s is missing", name)
		}
	}
	if a["specversion"] != specVersion {
		return fmt.Errorf("CloudEvents specversion %s is not supported, only %s", quote(a["specversion"]), specVersion)
	}
	return nil
}

var errNoID = errors.New("CloudEvents attribute id is missing")

// take puts the attributes of a CloudEvent into the message: those that have
// a field there, the rest into Attributes, without the one that is left out if it has a name.
func take(m *event.Message, from map[string]string, leftOut string) error {
	m.ID, m.MessageType, m.CorrelationID, m.CausationID = from["id"], from["type"], from["correlationid"], from["causationid"]
	a := make(map[string]string, len(from))
	for name, value := range from {
		// The specification forbids empty values; a missing one is what is meant.
		if value != "" && (leftOut == "" || name != leftOut) {
			a[name] = strings.ToValidUTF8(value, replacement)
		}
	}
	if err := checkAttributes(a); err != nil {
		return err
	}
	if v, ok := a["expirytime"]; ok {
		at, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return fmt.Errorf("CloudEvents attribute expirytime is no RFC 3339 time: %s", quote(v))
		}
		m.Expires = at.UTC()
	}
	m.ContentType = a["datacontenttype"]
	for _, name := range []string{"id", "type", "datacontenttype", "correlationid", "causationid"} {
		delete(a, name)
	}
	m.Attributes = a
	return nil
}
