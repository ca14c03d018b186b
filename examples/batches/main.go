// Command batches is a handler that books many amounts with one request, and
// says of each what became of it.
//
//	go run ./examples/batches
//	eventd -config examples/batches/routes.yaml
//	eventd send -type BOOK -data '{"account": "a", "amount": 5}'
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"sync"
	"time"
)

// booking is one CloudEvent of the batch.
type booking struct {
	ID   string `json:"id"`
	Data struct {
		Account string `json:"account"`
		Amount  int    `json:"amount"`
	} `json:"data"`
}

// result says what became of one.
type result struct {
	EventID string  `json:"event_id"`
	Status  int     `json:"status"`
	Detail  string  `json:"detail,omitempty"`
	Events  []event `json:"events,omitempty"`
}

type event struct {
	MessageType string         `json:"message_type"`
	Payload     map[string]any `json:"payload"`
}

// ledger books each event once: one that is delivered again has the id it had.
type ledger struct {
	mu       sync.Mutex
	balances map[string]int
	booked   map[string]bool
}

func (l *ledger) book(b *booking) result {
	if b.Data.Account == "" {
		return result{EventID: b.ID, Status: http.StatusUnprocessableEntity, Detail: "no account"}
	}
	if !l.booked[b.ID] {
		l.booked[b.ID] = true
		l.balances[b.Data.Account] += b.Data.Amount
	}
	return result{EventID: b.ID, Status: http.StatusOK, Events: []event{
		{"BOOKED", map[string]any{"account": b.Data.Account, "balance": l.balances[b.Data.Account]}},
	}}
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var batch []booking
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2<<20)).Decode(&batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	results := make([]result, len(batch))
	for i := range batch {
		results[i] = l.book(&batch[i])
	}
	log.Printf("%d events in one request", len(batch))
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"results": results}); err != nil {
		log.Print(err)
	}
}

func main() {
	http.Handle("POST /batch", &ledger{balances: map[string]int{}, booked: map[string]bool{}})
	server := &http.Server{Addr: "127.0.0.1:8080", ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
