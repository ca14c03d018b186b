// Command signed is a handler that takes nothing but what eventd has signed.
//
//	go run ./examples/signed
//	eventd -config examples/signed/routes.yaml
//	eventd send -type ORDER -data '{"amount": 5}'
//	curl -i http://127.0.0.1:8080/events -d '{"amount": 5}'     401
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/eventd-io/eventd/webhook"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	file := flag.String("secrets", "examples/signed/secrets", "file with the secrets, one a line")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(webhook.Secrets(string(text))...)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *listen, Handler: handler(verifier, os.Stdout), ReadTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

// maxBody is how large a request may be, in bytes.
const maxBody = 8 << 20

// handler writes the orders that eventd has signed. Others get 401, which makes
// an event ERROR `rejected`: the secrets of both sides differ, and a person has
// to look.
func handler(v *webhook.Verifier, out io.Writer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			return // it did not come whole: eventd tries again
		}
		if err := v.VerifyAt(r.Header, body, time.Now(), webhook.DefaultTolerance); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		// The id is the same in every attempt: who remembers it handles an order once.
		fmt.Fprintf(out, "%s: %s\n", r.Header.Get(webhook.HeaderID), body)
		w.WriteHeader(http.StatusNoContent)
	})
}
