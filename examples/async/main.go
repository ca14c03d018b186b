// Command async is a handler that answers at once and says later, through the
// API, what became of the event.
//
//	go run ./examples/async
//	eventd -config examples/async/routes.yaml
//	eventd send -type PRINT -data '{"text": "hello"}'
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/eventd-io/eventd/api/client"
	"github.com/eventd-io/eventd/api/wire"
)

// job is an event that was taken over.
type job struct {
	claim string
	text  []byte
}

// work takes two seconds for a page.
func work(eventd *client.Client, j job) {
	time.Sleep(2 * time.Second)
	log.Printf("printed: %s", j.text)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	pages := wire.NewEvent{MessageType: "PRINTED", Payload: json.RawMessage(`{"pages":1}`)}
	// When this fails the event comes again after async_timeout.
	if err := eventd.Complete(ctx, j.claim, pages); err != nil {
		log.Print(err)
	}
}

func main() {
	eventd, err := client.New(cmp.Or(os.Getenv("EVENTD"), "http://127.0.0.1:9180"), "", nil)
	if err != nil {
		log.Fatal(err)
	}
	jobs := make(chan job, 20)
	go func() {
		for j := range jobs {
			work(eventd, j)
		}
	}()
	http.HandleFunc("POST /print", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case jobs <- job{r.Header.Get("Eventd-Claim-Id"), text}:
			w.WriteHeader(http.StatusAccepted)
		default: // tried again later
			http.Error(w, "the tray is full", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: "127.0.0.1:8080", ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}
