# Every target runs on a clean checkout with Go installed. `make help` lists them.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
LINTER   = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help build test race lint fuzz crash small-disk polling query-size store-size isolation order bench bench-quick demo check image clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## build bin/eventd, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/eventd ./cmd/eventd

test: ## the quick tests
	$(GO) test ./...

race: ## the quick tests under the race detector
	.ci/race

lint: ## format, vet, linters
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	$(GO) run $(LINTER) run ./...
	cd bench && $(GO) vet ./... && $(GO) run $(LINTER) run ./...

fuzz: ## each fuzz test for FUZZTIME (default 20000x: so many inputs)
	.ci/fuzz $(FUZZTIME)

crash: ## kill the daemon again and again under load; nothing may be lost
	EVENTD_CRASH_ROUNDS=20 $(GO) test -count=1 -timeout 15m -run TestKill -v ./cmd/eventd

polling: ## 8 claimers that vanish, 50,000 events, a kill of the daemon; then how fast a waiting claimer is
	EVENTD_POLLING_EVENTS=50000 EVENTD_WAKEUPS=1000 $(GO) test -count=1 -timeout 20m -run 'TestPolling|TestWakeUp' -v ./cmd/eventd

small-disk: ## a file system of 16 MiB that fills again and again under load (needs the right to mount)
	EVENTD_SMALL_DISK=10 $(GO) test -count=1 -timeout 15m -run "TestSmallDisk|ReadOnlyDisk" -v ./cmd/eventd

query-size: ## the first page of each filter with 2,000,000 events, under writes
	EVENTD_QUERY_EVENTS=2000000 $(GO) test -count=1 -timeout 10m -run TestQueryTimes -v ./storage

isolation: ## handlers beside ill ones, 1,000,000 retries that wait, a handler back after a minute
	EVENTD_NEIGHBOURS=7 EVENTD_NEIGHBOURS_BACKLOG=1000000 EVENTD_WAITING_EVENTS=1000000 \
		EVENTD_COMEBACK_EVENTS=100000 EVENTD_COMEBACK_DOWN=1m \
		$(GO) test -count=1 -timeout 20m -run 'TestNeighbours|TestRetriesThatWait|TestComeback' -v ./cmd/eventd

order: ## 200 keys of 500 events with failures: in order, and in less than three times the time without
	EVENTD_ORDER_KEYS=200 EVENTD_ORDER_EACH=500 EVENTD_ORDER_ROUNDS=5 $(GO) test -count=1 -timeout 20m -run 'TestOrder$$' -v ./cmd/eventd

store-size: ## a daemon with 2,000,000 events: start, memory, queries under writes
	EVENTD_STORE_EVENTS=2000000 $(GO) test -count=1 -timeout 15m -run TestStoreSize -v ./cmd/eventd

bench: ## the whole report, into docs/performance.* (long; an idle machine)
	cd bench && $(GO) run . -rounds 5 -messages 300000 -stored 5000000 \
		-json ../docs/performance.json -svg ../docs/performance.svg -markdown ../docs/performance.md all

bench-quick: ## every scenario once, small
	cd bench && $(GO) run . -rounds 1 -messages 20000 -stored 200000 -load 3s -warmup 1s all

demo: ## the payments example, to its end
	$(GO) run ./examples/payments

check: ## what CI runs
	bash .ci/run

image: ## the container image
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t eventd:$(VERSION) .

clean: ## remove what was built
	rm -rf bin
