# Everything a developer runs. `make check` is what must be green before a commit is shared.
GO       ?= go
FUZZTIME ?= 10s
BENCH    ?= .
BENCHFLAGS ?=
VERSION  ?= 0.1.0-dev

.DEFAULT_GOAL := help
.PHONY: help demo build test race fuzz lint bench microbench check

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

demo: build ## a server, 200 devices that misbehave, a campaign in three waves
	bin/fleetbridge demo

build: ## the binary, bin/fleetbridge
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/fleetbridge ./cmd/fleetbridge

test: ## all tests; those that need mosquitto skip where it is missing
	$(GO) test -count=1 -timeout=20m ./...

race: ## the tests under the race detector (needs a C compiler), without the long ones
	$(GO) test -race -short ./...

fuzz: ## each fuzzer for FUZZTIME
	scripts/fuzz $(FUZZTIME)

lint: ## gofmt, go mod tidy, go vet, staticcheck (its version is pinned in tools/go.mod)
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$$($(GO) -C tools tool -n staticcheck) ./...

bench: build ## the server beside its peers, on a quiet machine; fills docs/performance.md (BENCHFLAGS=--noisy: as noisy as it is)
	scripts/bench $(BENCHFLAGS)

microbench: ## the benchmarks of the packages, BENCH=regexp
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem ./...

check: lint test race ## lint, test and race
