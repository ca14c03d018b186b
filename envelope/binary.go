package envelope

import "github.com/eventd-io/eventd/event"

// binary decodes a CloudEvent whose attributes are headers. The bindings to
// HTTP and to NATS put the content type into a header of its own; ce-
// datacontenttype counts only where that is missing.
func (f *fields) binary(body []byte, o *Origin) (event.Message, error) {
	m, err := f.binaryReply(body, o)
	if err == nil && m.ID == "" {
		err = errNoID
	}
	return m, err
}

// binaryReply is [fields.binary] for requests and replies, which may leave the
// id to eventd.
func (f *fields) binaryReply(body []byte, o *Origin) (event.Message, error) {
	m := o.message()
	m.Payload = body
	if f.flaw != nil {
		return m, f.flaw
	}
	if err := take(&m, f.attributes, "datacontenttype"); err != nil {
		return m, err
	}
	m.ContentType = either(f.contentType, f.attributes["datacontenttype"])
	return m, f.complete(&m, o)
}
