# What nodejoin is made with. `make` alone lists the targets.

GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOTESTSUM     = gotest.tools/gotestsum@v1.13.0

# Stories run side by side; most of their time is waiting, but the machine must not be short of breath.
PARALLEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help build unit schedules parts e2e test faults mutants demo lint size ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/nodejoin
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/nodejoin ./cmd/nodejoin

unit: schedules ## Test the packages alone, in seconds
	go test -race -shuffle=on ./...
	cd test && go test -count=1 ./faults

schedules: ## Play 10,000 random schedules under virtual time, others each time
	go test -count=1 -run '^TestPromisesHold' ./pkg/join -rapid.checks=10000

parts: ## Compile the testbed's components and make the booted nodes' image: once, some 15 minutes on 2 cores
	cd test && go run ./parts

e2e: parts ## Tell the stories on a real cluster (root)
	cd test && go run $(GOTESTSUM) --format testname --jsonfile ../bin/e2e.json -- -count=1 -timeout 60m -parallel $(PARALLEL) ./...

test: unit e2e ## All tests

faults: ## Print how each fault ended in the last run of the stories, and refresh README's table
	cd test && go run ./faults

mutants: ## For each rule, take its code away and tell which test notices
	cd test && go run ./mutants

demo: ## Watch a Node being deleted, the shell loop not noticing, nodejoin bringing it back (root)
	cd test && go run ./demo

lint: ## Vet, lint, and hold the arrows between the packages
	go run $(GOLANGCI_LINT) run ./...
	cd test && go vet ./...

size: parts ## The stripped binary's size, and the peak memory of a whole join (root)
	cd test && go test -count=1 -run '^TestSize' -v ./e2e | grep -E 'MB|^(ok|FAIL|---)'

ci: lint test ## What CI runs

clean: ## Remove what was built here, and the testbed's components and images
	rm -rf bin dist
	cd test && go run ./parts -clean
