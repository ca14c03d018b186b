package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/eventd-io/eventd/api/wire"
)

// outgoing is the event that send and explain are given on the command line.
type outgoing struct {
	remote
	messageType, id, contentType string
	correlation, causation       string
	data                         text
	file                         string
	headers                      headers
}

// text is the value of a flag that may be given and empty.
type text struct {
	value string
	given bool
}

func (t *text) String() string { return t.value }

// Set implements [flag.Value].
func (t *text) Set(s string) error {
	t.value, t.given = s, true
	return nil
}

// headers are the values of a flag that may be repeated.
type headers struct{ http.Header }

func (headers) String() string { return "" }

// Set implements [flag.Value].
func (h *headers) Set(s string) error {
	name, value, ok := strings.Cut(s, ":")
	if !ok || strings.TrimSpace(name) == "" {
		return errors.New("expected NAME: VALUE")
	}
	if h.Header == nil {
		h.Header = http.Header{}
	}
	h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

func (o *outgoing) bind(p *program, fs *flag.FlagSet) {
	o.remote.bind(p, fs)
	fs.StringVar(&o.messageType, "type", "", "message `TYPE`, required")
	fs.StringVar(&o.id, "id", "", "event `ID`; made up when left out")
	fs.Var(&o.data, "data", "the payload, a `TEXT`")
	fs.StringVar(&o.file, "file", "", "`FILE` with the payload, - for standard input")
	fs.StringVar(&o.contentType, "content-type", "", "content `TYPE` of the payload (default: told from its bytes)")
	fs.StringVar(&o.correlation, "correlation", "", "`ID` of the conversation it belongs to")
	fs.StringVar(&o.causation, "causation", "", "`ID` of the event that caused it")
	fs.StringVar(&o.service, "source-service", "", "the `SERVICE` it comes from (default: the daemon's)")
	fs.Var(&o.headers, "header", "a header `'NAME: VALUE'` to go along, such as 'Eventd-Delay: 90s'; may be repeated")
}

// request returns the event in a form that the API takes. Its payload arrives
// byte for byte.
func (o *outgoing) request(payload []byte) (http.Header, []byte, error) {
	h := o.headers.Clone()
	if h == nil {
		h = http.Header{}
	}
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("Correlation-Id", o.correlation)
	set("Causation-Id", o.causation)
	contentType, err := o.typeOf(payload)
	if err != nil {
		return nil, nil, err
	}
	if !utf8.Valid(payload) {
		set("Content-Type", contentType)
		o.asCloudEvent(set)
		return h, payload, nil
	}
	set("Content-Type", "application/json")
	body, err := o.asJSON(payload, contentType)
	return h, body, err
}

// typeOf returns the content type of a payload: what was said, or what its
// bytes look like.
func (o *outgoing) typeOf(payload []byte) (string, error) {
	trimmed := bytes.TrimSpace(payload)
	switch {
	case o.contentType != "":
		return o.contentType, nil
	case len(trimmed) == 0:
		return "", nil
	case json.Valid(payload):
		return "application/json", nil
	case trimmed[0] == '{' || trimmed[0] == '[':
		return "", wrongUsage("the payload looks like JSON but is not: %v (-content-type text/plain sends it as it is)", jsonFlaw(payload))
	case utf8.Valid(payload):
		return "text/plain; charset=utf-8", nil
	}
	return "application/octet-stream", nil
}

func jsonFlaw(b []byte) error {
	var v any
	return json.Unmarshal(b, &v)
}

// asJSON writes the plain form. A payload that is JSON stands in it as it is.
func (o *outgoing) asJSON(payload []byte, contentType string) ([]byte, error) {
	head, err := json.Marshal(wire.NewEvent{MessageType: o.messageType, EventID: o.id, ContentType: contentType})
	if err != nil || len(payload) == 0 {
		return head, err
	}
	value := payload
	if !isJSON(contentType) {
		if value, err = json.Marshal(string(payload)); err != nil {
			return nil, err
		}
	} else if !json.Valid(payload) {
		return nil, wrongUsage("the payload is not JSON: %v", jsonFlaw(payload))
	}
	return slices.Concat(head[:len(head)-1], []byte(`,"payload":`), value, []byte{'}'}), nil
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// asCloudEvent sets the headers of binary mode, the only form in which bytes
// that are no text arrive as they are.
func (o *outgoing) asCloudEvent(set func(name, value string)) {
	set("Ce-Specversion", "1.0")
	set("Ce-Type", url.PathEscape(o.messageType))
	set("Ce-Id", url.PathEscape(o.id))
	set("Ce-Source", "/"+url.PathEscape(cmp.Or(o.service, "eventd")))
}

// maxPayload is how many bytes of a payload are read; the daemon takes no more.
const maxPayload = 8 << 20

// payload returns the body that was given. With ask, standard input has it
// when nothing else was given.
func (o *outgoing) payload(p *program, ask bool) ([]byte, error) {
	switch {
	case o.data.given && o.file != "":
		return nil, wrongUsage("-data and -file cannot both be given")
	case o.data.given:
		return []byte(o.data.value), nil
	case o.file == "-" || o.file == "" && ask:
		if isTerminal(p.stdin) {
			fmt.Fprintln(p.stderr, "Reading the payload from the terminal; Ctrl-D ends it.")
		}
		return limited(p.stdin, "standard input")
	case o.file == "":
		return nil, nil
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, wrongUsage("payload cannot be read: %v", err)
	}
	defer f.Close()
	return limited(f, o.file)
}

func limited(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err != nil {
		return nil, wrongUsage("payload cannot be read: %v", err)
	}
	if len(b) > maxPayload {
		return nil, wrongUsage("payload is too large: %s has more than 8 MiB", name)
	}
	return b, nil
}
