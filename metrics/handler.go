package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the scrapes that run at the same time; the next one gets
// 503.
const maxScrapes = 8

// Handler serves what is gathered: as text, as OpenMetrics or, for native
// histograms, as protobuf, whatever the scraper asks for.
//
// Scrapes do not share results: a client that reads slowly would keep an old
// one alive for the others.
func Handler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
	})
}
