package api

import (
	"net/http"
	"time"
)

// NewServer returns a server for h that gives nobody a connection for nothing:
// who sends or reads too slowly is cut off. A response that takes longer than
// the write timeout must extend it with an [http.ResponseController].
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}
