package handler

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/eventd-io/eventd/event"
)

func TestLog(t *testing.T) {
	long := strings.Repeat("x", MaxLogged)
	for _, tt := range []struct{ name, payload, want string }{
		{"JSON", "{\"a\": 1,\n \"b\": [ \"x\" ]}", `{"a":1,"b":["x"]}`},
		{"text", "a\nb", `"a\nb"`},
		{"nothing", "", `""`},
		{"broken JSON", `{"a":`, `"{\"a\":"`},
		{"bytes", "\x00\xff", `"��"`},
		{"JSON of bytes", "\"\xff\"", `"\"�\""`},
		{"as long as allowed", long, `"` + long + `"`},
		{"longer", long + "yz", `"` + long + `"`},
	} {
		var out bytes.Buffer
		h := NewLog("console", zerolog.New(&out))
		if got := h.Deliver(t.Context(), attempt(tt.payload)); got.Outcome != event.Done || got.Reason != "" {
			t.Errorf("%s: Deliver = %+v; want done", tt.name, got)
		}
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: not one line: %s", tt.name, out.String())
		}
		var line map[string]json.RawMessage
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Errorf("%s: %v: %s", tt.name, err, out.String())
			continue
		}
		if string(line["payload"]) != tt.want {
			t.Errorf("%s: payload = %s; want %s", tt.name, line["payload"], tt.want)
		}
		_, cut := line["payload_bytes"]
		if want := tt.name == "longer"; cut != want {
			t.Errorf("%s: payload_bytes is there: %t; want %t", tt.name, cut, want)
		}
		delete(line, "payload")
		delete(line, "payload_bytes")
		got, _ := json.Marshal(line)
		want := `{"attempt":1,"content_type":"application/json","correlation_id":"c-1","event_id":"e-1","handler":"console","level":"info",` +
			`"message":"event","message_type":"RQ_A","source_service":"UP","table":"inbound"}`
		if string(got) != want {
			t.Errorf("%s: line %s\nwant %s", tt.name, got, want)
		}
	}
}
