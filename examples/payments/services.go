package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// order is the business data that travels through the flow.
type order struct {
	EventID     string `json:"event_id,omitempty"`
	MessageType string `json:"message_type,omitempty"`
	Account     string `json:"account"`
	Amount      int    `json:"amount"` // cents
	Accepted    bool   `json:"accepted,omitempty"`
}

// limit is the amount in cents above which SERVICE_A rejects an order.
const limit = 100_000

// services are the three services of the application. Each takes the event as
// the body of a POST, with its attributes in ce-* headers, and answers with the
// events that follow from it.
type services struct {
	mux *http.ServeMux

	mu       sync.Mutex
	attempts map[string]int             // by event id: SERVICE_C fails now and then
	posted   map[string]map[string]bool // by correlation id: postings that are done
}

func newServices() *services {
	s := &services{mux: http.NewServeMux(), attempts: map[string]int{}, posted: map[string]map[string]bool{}}
	s.mux.HandleFunc("POST /a", s.serviceA)
	s.mux.HandleFunc("POST /b", s.serviceB)
	s.mux.HandleFunc("POST /c", s.serviceC)
	return s
}

// serviceA checks an order and asks B to execute it, or tells B that it will not come.
func (*services) serviceA(w http.ResponseWriter, r *http.Request) {
	o, ok := read(w, r)
	if !ok {
		return
	}
	next := "RQ_B_STP"
	if o.Amount > limit {
		next = "RQ_B_REJ"
	}
	reply(w, followUp(r, "SERVICE_A", next, o))
}

// serviceB takes B's answer: two postings, or a refusal to A.
func (*services) serviceB(w http.ResponseWriter, r *http.Request) {
	o, ok := read(w, r)
	if !ok {
		return
	}
	if !o.Accepted {
		reply(w, followUp(r, "SERVICE_B", "RS_A_REJ", o))
		return
	}
	reply(w, followUp(r, "SERVICE_B", "DR_C_POST", o), followUp(r, "SERVICE_B", "CR_C_POST", o))
}

// serviceC posts. Its ledger is busy at the first attempt of every other
// posting. When debit and credit are both posted it answers A. It may see an
// event twice, so everything it does can be done twice.
func (s *services) serviceC(w http.ResponseWriter, r *http.Request) {
	o, ok := read(w, r)
	if !ok {
		return
	}
	if s.busy(r.Header.Get("ce-id"), r.Header.Get("ce-type")) {
		http.Error(w, "ledger is busy", http.StatusServiceUnavailable)
		return
	}
	if s.post(r.Header.Get("ce-correlationid"), r.Header.Get("ce-type")) {
		reply(w, followUp(r, "SERVICE_C", "RS_A_DONE", o))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *services) busy(id, messageType string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts[id]++
	return messageType == "DR_C_POST" && s.attempts[id] == 1
}

// post books one side and reports whether both are booked now.
func (s *services) post(correlation, messageType string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.posted[correlation] == nil {
		s.posted[correlation] = map[string]bool{}
	}
	s.posted[correlation][messageType] = true
	return len(s.posted[correlation]) == 2
}

func read(w http.ResponseWriter, r *http.Request) (o order, ok bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return o, false
	}
	return o, true
}

// cloudEvent is a CloudEvent in JSON.
type cloudEvent struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Type        string `json:"type"`
	Source      string `json:"source"`
	ContentType string `json:"datacontenttype"`
	Data        order  `json:"data"`
}

// followUp makes an event that follows from the one in the request. Its id
// depends on that alone: made twice, it is the same event.
func followUp(r *http.Request, service, messageType string, o order) cloudEvent {
	id := fmt.Sprintf("%s.%s", r.Header.Get("ce-correlationid"), strings.ToLower(messageType))
	o.EventID, o.MessageType = "", ""
	return cloudEvent{
		SpecVersion: "1.0", ID: id, Type: messageType, Source: "/" + service,
		ContentType: "application/json", Data: o,
	}
}

// reply answers with the events that follow.
func reply(w http.ResponseWriter, events ...cloudEvent) {
	w.Header().Set("Content-Type", "application/cloudevents-batch+json")
	_ = json.NewEncoder(w).Encode(events)
}
