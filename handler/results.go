package handler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/eventd-io/eventd/envelope"
	"github.com/eventd-io/eventd/event"
)

// MaxBatchReply is how many bytes of an answer to a batch are read. It holds the
// follow-up events of all.
const MaxBatchReply = 8 << 20

// results is the body of an answer to a batch.
type results struct {
	Results *[]json.RawMessage `json:"results"`
}

// result says what became of one event.
type result struct {
	EventID    string          `json:"event_id"`
	Source     *string         `json:"source"` // CloudEvents source, to make sure
	Status     int             `json:"status"` // as that of an HTTP answer
	Detail     string          `json:"detail"`
	RetryAfter json.RawMessage `json:"retry_after"` // as the header of that name
	Events     json.RawMessage `json:"events"`      // follow-ups
}

// batchReply keeps the body of an answer that says yes, for [HTTP.spread].
type batchReply struct {
	http   *HTTP
	header http.Header
	body   []byte
}

// read implements [reader].
func (r *batchReply) read(response *http.Response, body io.Reader) (answer event.Answer, err error) {
	answer = classify(response.StatusCode, response.Header, r.http.retryOn, time.Now())
	if answer.Outcome != event.Done {
		return r.http.read(response, body)
	}
	r.header = response.Header
	r.body, err = readUpTo(body, response.ContentLength, MaxBatchReply+1)
	return answer, err
}

// spread says what an answer means for each event of a batch whose request was
// taken well. Without a body all are handled, and so they are with a text for
// people. Anything else has to tell the events apart; where it cannot be read,
// nobody knows which are handled.
func (h *HTTP) spread(all event.Answer, r *batchReply, batch []*element) []event.Answer {
	if !r.structured() {
		all.Detail = detailOf(r.body)
		return alike(all, len(batch))
	}
	list, err := r.results()
	if err != nil {
		return alike(badReply(all.Code, err), len(batch))
	}
	answers := make([]event.Answer, len(batch))
	index := make(map[string]int, len(batch))
	for i, e := range batch {
		index[e.attempt.Event.ID] = i
	}
	strangers, now := 0, time.Now()
	for _, raw := range list {
		var x result
		err := json.Unmarshal(raw, &x)
		i, known := index[x.EventID]
		switch {
		case !known || x.Source != nil && *x.Source != batch[i].source:
			strangers++
		case answers[i].Outcome != 0:
			answers[i] = badReply(all.Code, errors.New("the answer has two results for this event"))
		case err != nil:
			answers[i] = badReply(all.Code, fmt.Errorf("the result cannot be read: %w", err))
		default:
			answers[i] = h.answer(&x, all.Code, now)
		}
	}
	missing(answers, all.Code, strangers)
	return speakOnce(answers)
}

// structured reports whether the body is more than a text for people, by its
// looks or by what the headers say. The looks count too, for many servers do not
// say what they send.
func (r *batchReply) structured() bool {
	text := bytes.TrimLeft(r.body, " \t\r\n")
	if len(text) == 0 {
		return false
	}
	return strings.Contains(strings.ToLower(r.header.Get("Content-Type")), "json") ||
		text[0] == '{' || text[0] == '[' || envelope.IsCloudEvent(r.header) || encoded(r.header)
}

func encoded(header http.Header) bool {
	coding := header.Get("Content-Encoding")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

func (r *batchReply) results() ([]json.RawMessage, error) {
	if len(r.body) > MaxBatchReply {
		return nil, fmt.Errorf("the answer has more than %d bytes", MaxBatchReply)
	}
	if encoded(r.header) {
		return nil, fmt.Errorf("the answer comes with Content-Encoding %q, which was not asked for", r.header.Get("Content-Encoding"))
	}
	var x results
	if err := json.Unmarshal(r.body, &x); err != nil {
		return nil, fmt.Errorf("the answer is no JSON object with results: %w", err)
	}
	if x.Results == nil {
		return nil, errors.New("the answer has no results; without a body it would say that all events are handled")
	}
	return *x.Results, nil
}

// answer says what one result means. code is that of the whole answer.
func (h *HTTP) answer(x *result, code int, now time.Time) event.Answer {
	if x.Status == 0 {
		return badReply(code, errors.New("the result has no status"))
	}
	a := classify(x.Status, nil, h.retryOn, now)
	a.Pause = false // who answers for others is there
	a.Delay = retryAfter(strings.Trim(string(x.RetryAfter), `"`), now)
	a.Detail = detailOf([]byte(x.Detail))
	if a.Outcome != event.Done || len(x.Events) == 0 || string(x.Events) == "null" {
		return a
	}
	list, err := elements(x.Events)
	if err != nil {
		return badReply(x.Status, err)
	}
	a.FollowUps = list
	return a
}

// elements reads the follow-up events of a result: CloudEvents, or the plain
// objects that the API takes.
func elements(list []byte) ([]event.Message, error) {
	contentType := "application/json"
	var some []struct {
		SpecVersion *json.RawMessage `json:"specversion"`
	}
	if json.Unmarshal(list, &some) == nil && len(some) > 0 && some[0].SpecVersion != nil {
		contentType = "application/cloudevents-batch+json"
	}
	origin := envelope.Origin{Table: event.Request, At: time.Now().UTC()}
	return envelope.DecodeRequest(http.Header{"Content-Type": {contentType}}, list, origin, MaxFollowUps)
}

func badReply(code int, why error) event.Answer {
	return event.Answer{Outcome: event.Never, Reason: event.BadReply, Code: code, Detail: detailOf([]byte(why.Error()))}
}

// missing fills in the events that an answer says nothing of. They are tried
// again: who forgets an event has not handled it.
func missing(answers []event.Answer, code, strangers int) {
	detail := "the answer has no result for this event"
	if strangers > 0 {
		detail += fmt.Sprintf(", but %d for events that were not sent", strangers)
	}
	for i := range answers {
		if answers[i].Outcome == 0 {
			answers[i] = event.Answer{Outcome: event.Again, Reason: event.BadReply, Code: code, Detail: detail}
		}
	}
}

// alike is the same answer for each of n events, one of which speaks of the
// handler.
func alike(a event.Answer, n int) []event.Answer {
	answers := make([]event.Answer, n)
	for i := range answers {
		answers[i] = a
		answers[i].Silent = i > 0
	}
	return answers
}

// speakOnce leaves one answer to speak of the handler: a request in which
// anything went well, or was refused for good, is none that failed.
func speakOnce(answers []event.Answer) []event.Answer {
	voice := 0
	for i := range answers {
		answers[i].Silent = true
		if a := &answers[voice]; a.Outcome == event.Again && !a.Uncharged {
			voice = i
		}
	}
	answers[voice].Silent = false
	return answers
}
