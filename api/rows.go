package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eventd-io/eventd/api/wire"
	"github.com/eventd-io/eventd/event"
)

// maxInline is the size up to which a body is shown within a detail.
const maxInline = 256 << 10

func rowOf(r *event.Record) wire.Row {
	d := deciding(r)
	return wire.Row{
		Table: r.Table.String(), EventID: r.ID, MessageType: r.MessageType,
		Status: statusName(r.Status), Reason: string(cmp.Or(r.Reason, d.Reason)),
		SourceService: r.SourceService, TargetService: r.TargetService, Topic: r.Topic,
		CorrelationID: r.CorrelationID, CausationID: r.CausationID,
		Route: d.Route, Handler: d.Handler, Attempts: d.Attempts,
		NextAttemptDttm: wire.Time{Time: d.NextAttempt}, Generation: d.Generation,
		CreatedBy: r.CreatedBy, CreatedDttm: wire.Time{Time: r.CreatedAt},
		UpdatedBy: r.UpdatedBy, UpdatedDttm: wire.Time{Time: r.UpdatedAt},
		Source: r.Source, ContentType: r.ContentType, Hops: r.Hops,
		DeliverAtDttm: wire.Time{Time: r.DeliverAt}, ExpiresDttm: wire.Time{Time: r.Expires},
	}
}

// deciding returns the delivery whose status is the event's; the first where
// none decides, and an empty one where there is none: when no route matches.
func deciding(r *event.Record) event.Delivery {
	for _, d := range r.Deliveries {
		if d.Status == r.Status {
			return d
		}
	}
	if len(r.Deliveries) > 0 {
		return r.Deliveries[0]
	}
	return event.Delivery{}
}

// statusName is "" for a note that has no status of its own.
func statusName(s event.Status) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

func refOf(r *event.Record) wire.Ref {
	return wire.Ref{Table: r.Table.String(), EventSource: r.SourceService}
}

func entryOf(ref wire.Ref, e event.Entry) wire.Entry {
	return wire.Entry{
		Ref: ref, At: wire.Time{Time: e.At}, Status: statusName(e.Status), Attempt: e.Attempt,
		Handler: e.Handler, Reason: string(e.Reason), Detail: e.Detail, Code: e.Code,
		DurationMS: milliseconds(e.Duration),
	}
}

// milliseconds keeps the microseconds, which is as exact as anyone reads it.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

func deliveryOf(ref wire.Ref, d event.Delivery) wire.Delivery {
	onFailure := ""
	if d.Ordered() {
		onFailure = d.OnFailure.String()
	}
	return wire.Delivery{
		Ref: ref, Handler: d.Handler, Route: d.Route, Status: statusName(d.Status), Reason: string(d.Reason),
		Attempts: d.Attempts, Uncharged: d.Uncharged, Interruptions: d.Interruptions, Generation: d.Generation,
		FirstAttemptDttm: wire.Time{Time: d.FirstAttempt}, NextAttemptDttm: wire.Time{Time: d.NextAttempt},
		OrderKey: d.OrderKey, OnFailure: onFailure,
	}
}

func payloadOf(ref wire.Ref, n int, p event.Payload) wire.Payload {
	value, encoding := inline(p, maxInline)
	return wire.Payload{
		Ref: ref, N: n, EventID: p.EventID, Topic: p.Topic,
		SourceService: p.SourceService, TargetService: p.TargetService,
		Payload: value, Encoding: encoding, Size: len(p.Body), ContentType: p.ContentType,
		CreatedBy: p.CreatedBy, CreatedDttm: wire.Time{Time: p.CreatedAt},
	}
}

// inline returns a body of at most so many bytes as a JSON value, and how to read it.
func inline(p event.Payload, most int) (value json.RawMessage, encoding string) {
	if p.Removed {
		return json.RawMessage("null"), wire.EncodingRemoved
	}
	if len(p.Body) > most {
		return json.RawMessage("null"), wire.EncodingOmitted
	}
	if !utf8.Valid(p.Body) {
		return quoted(base64.StdEncoding.EncodeToString(p.Body)), wire.EncodingBase64
	}
	if mayBeJSON(p.ContentType) && json.Valid(p.Body) {
		return p.Body, wire.EncodingJSON
	}
	return quoted(string(p.Body)), wire.EncodingText
}

// mayBeJSON is true where nothing is said as well: queues carry mostly JSON.
func mayBeJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return contentType == "" || err == nil && (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json"))
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always has a JSON form
	return b
}
