# What nodejoin is made with. `make` alone lists the targets.

# The Go that everything is made with, whichever is at hand and whatever it may fetch by itself: go.mod names it, also for
# `go build` and for CI.
export GOTOOLCHAIN := $(shell sed -n 's/^toolchain //p' go.mod)

GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT    = github.com/rhysd/actionlint/cmd/actionlint@v1.7.10
GOTESTSUM     = gotest.tools/gotestsum@v1.13.0
GORELEASER    = github.com/goreleaser/goreleaser/v2@v2.15.1
SYFT          = github.com/anchore/syft/cmd/syft@v1.50.0

# goreleaser starts syft by its name, so both are in one folder, compiled once for these versions.
TOOLS = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nodejoin-tools/$(lastword $(subst @, ,$(GORELEASER)))-$(lastword $(subst @, ,$(SYFT)))
# What a snapshot leaves out. sign,sbom,archive: only the packages.
SKIP ?= sign

# A schedule of the wide world takes some 15 ms. One in some 20,000 still breaks a promise.
SCHEDULES ?= 1000

# Stories run side by side; most of their time is waiting, but the machine must not be short of breath.
PARALLEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help build unit schedules parts e2e test faults mutants bench matrix vm snapshot demo picture lint size ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/nodejoin
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/nodejoin ./cmd/nodejoin

# The judge once more without the race detector, which is too slow for millions of rows, and of no use to one goroutine.
unit: schedules ## Test the packages alone, in minutes
	go test -race -shuffle=on ./...
	go test -count=1 ./pkg/join/internal/judge
	cd test && go test -count=1 ./faults ./bench ./matrix ./vm

schedules: ## Play random schedules under virtual time, others each time: SCHEDULES=20000 for a hunt
	go test -count=1 -timeout 20m -run '^TestPromisesHold' ./pkg/join -rapid.checks=$(SCHEDULES)

parts: ## Compile the testbed's components and make the booted nodes' image: once, some 20 minutes on 2 cores
	cd test && go run ./parts

e2e: parts $(TOOLS)/goreleaser $(TOOLS)/syft ## Tell the stories on a real cluster (root)
	cd test && go run $(GOTESTSUM) --format testname --jsonfile ../bin/e2e.json -- -count=1 -timeout 60m -parallel $(PARALLEL) ./...

test: unit e2e ## All tests

faults: ## Print how each fault ended in the last run of the stories, into test/faults/README.md
	cd test && go run ./faults

mutants: ## For each rule, take its code away and tell which test notices
	cd test && go run ./mutants

bench: ## Measure nodejoin beside what it replaces, into test/bench: two hours and a half; ROW=live for one row (root)
	cd test && go run ./bench $(ROW)

matrix: parts ## Tell a dozen stories of every minor of Kubernetes, into test/matrix: hours; K8S=1.34 for one (root)
	cd test && go run ./matrix $(K8S)

vm: parts $(TOOLS)/goreleaser $(TOOLS)/syft ## Tell stories of real machines in QEMU, into test/vm: hours without KVM; STORY=OpenRC for one (root)
	cd test && go run ./vm $(STORY)

# goreleaser asks for the commit only where there is a remote, which a copy may not have.
snapshot: $(TOOLS)/goreleaser $(TOOLS)/syft ## Make what a release is made of into dist/, unsigned
	GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=https://github.com/nodejoin/nodejoin \
		PATH="$(TOOLS):$$PATH" sh -c 'goreleaser check && goreleaser release --snapshot --clean --skip=$(SKIP)'

$(TOOLS)/goreleaser:
	GOBIN="$(TOOLS)" go install $(GORELEASER)

$(TOOLS)/syft:
	GOBIN="$(TOOLS)" go install $(SYFT)

demo: ## Watch a Node being deleted, the shell loop not noticing, nodejoin bringing it back (root)
	cd test && go run ./demo

picture: ## Draw README's picture: nodejoin's live view as a Node is deleted and brought back (root)
	cd test && go run ./demo -picture demo/picture.svg

lint: ## Vet, lint, and hold the arrows between the packages
	go run $(GOLANGCI_LINT) run ./...
	go run $(ACTIONLINT) .github/workflows/*.yml
	cd test && go vet ./... && go vet -tags vm ./e2e ./testbed

size: parts ## The stripped binary's size, and the peak memory of a whole join (root)
	cd test && go test -count=1 -run '^TestSize' -v ./e2e | grep -E 'MB|^(ok|FAIL|---)'

ci: lint test ## What CI runs

clean: ## Remove what was built here, and the testbed's components and images
	rm -rf bin dist "$(dir $(TOOLS))"
	cd test && go run ./parts -clean
