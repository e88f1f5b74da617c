# coinop's targets. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)
# libsecp256k1's C is compiled by cgo.
export CGO_ENABLED := 1
# What targets compile to run it themselves is compiled quickly: by tools that clear away no garbage below a gigabyte, and
# without what debuggers read. All of them alike, so that each finds what another has compiled. Warnings of others' C are not
# ours to mend.
QUICK := $(shell $(GO) env GOFLAGS) '-toolexec=env GOGC=off GOMEMLIMIT=1GiB' -gcflags=all=-dwarf=false
plain raced e2e sim bench fuzz: export GOFLAGS := $(QUICK)
plain raced e2e sim bench fuzz: export CGO_CFLAGS := -O2 -g0 -w
# The core: raced on every run, because the rest stands on it.
CORE := ./funding/... ./scheduler/... ./consensus/... ./executor/... ./api/... ./server/...

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: need
need:
	@scripts/need gcc libc6-dev git

# What tests of containers and virtual machines run. They need root, and are skipped without.
.PHONY: containers
containers:
	@[ "$$(id -u)" -ne 0 ] || scripts/need busybox-static crun runc e2fsprogs qemu-system-x86 qemu-utils
	@[ "$$(id -u)" -ne 0 ] || scripts/kernel || echo "no kernel for virtual machines: their tests are skipped"

.PHONY: build
build: need ## build ./coinop
	$(GO) build -ldflags '$(LDFLAGS)' -o coinop .

.PHONY: demo
demo: need ## play the main job in five acts with real jobs and coins
	@$(GO) run ./testbed/demo

# Most of the time goes into compiling, once as it is and once for the race detector; both at once, because either ends with
# tests that wait more than they compute. The C that the detector does not see is not made fast for it.
.PHONY: test plain raced
test: need containers ## vet and run all tests, the core with the race detector
	@$(MAKE) --no-print-directory -j 2 plain raced
plain:
	$(GO) vet -tags e2e ./...
	$(GO) test -vet=off $$(comm -23 <($(GO) list ./... | sort) <($(GO) list $(CORE) | sort))
raced: export CGO_CFLAGS := -Og -g0 -w
raced:
	$(GO) test -vet=off -race $(CORE)

FAILOVERS ?= 20
FULL_LOAD ?= 10m
HISTORIES ?= 40
LIFE ?= 72
REPLACED ?= 5
SKIP ?=
# What make test has not run already: the tests of files that carry the tag or name a size.
SLOW := ^//go:build e2e|COINOP_(E2E|LINEAR|LIFE|STRIDE)
.PHONY: e2e
e2e: export COINOP_E2E_FAILOVERS := $(FAILOVERS)
e2e: export COINOP_E2E_FULL_LOAD := $(FULL_LOAD)
e2e: export COINOP_LINEAR_SEEDS := $(HISTORIES)
e2e: export COINOP_LIFE := $(LIFE)
e2e: export COINOP_E2E_REPLACED := $(REPLACED)
e2e: need containers ## the slow end-to-end suite, with real processes; FAILOVERS leaders killed, FULL_LOAD long, HISTORIES put in order, LIFE hours lived, REPLACED servers of five, without the tests that SKIP matches
	files=$$(grep -rlE --include='*_test.go' '$(SLOW)' testbed drivers) && \
	$(GO) test -vet=off -tags e2e -count=1 -parallel 8 -timeout 60m -skip '$(SKIP)' -run "^($$(grep -hoE '^func Test[A-Z][A-Za-z0-9]*' $$files | cut -c6- | paste -sd'|'))$$" \
		$$(dirname $$files | sort -u | sed 's|^|./|')

SEEDS   ?= 200
ENTRIES ?= 5000
FOR     ?=
FIRST   ?=
.PHONY: sim
sim: need ## simulate: SEEDS seeds of ENTRIES entries, from FIRST on, every invariant after every entry; FOR=8h: seeds until then
	nice -n 19 $(GO) run ./testbed/sim/cmd $(if $(FOR),-for $(FOR),-seeds $(SEEDS)) -entries $(ENTRIES) $(if $(FIRST),-first $(FIRST))

BENCH  ?=
ROUNDS ?= 5
JOBS   ?= 1000000
NODES  ?= 10000
PULL   ?= 500
.PHONY: bench
bench: need ## measure against the bars, beside references of the same run; BENCH=http names one, JOBS live where that matters, NODES idle, PULL MiB of image
	@$(GO) run ./testbed/bench -run '$(BENCH)' -rounds $(ROUNDS) -jobs $(JOBS) -nodes $(NODES) -pull $(PULL)

ROWS ?= .
.PHONY: accept
accept: export COINOP_TESTDATA ?= $(if $(wildcard ../shared/cashu-vectors),$(abspath ../shared))
accept: need ## run what shows each line of the main path, into docs/acceptance.md; ROWS=regexp for some
	@$(GO) run ./testbed/accept -rows '$(value ROWS)'

FUZZTIME ?= 1h
.PHONY: fuzz
fuzz: need ## fuzz every decoder for FUZZTIME in all
	scripts/fuzz $(FUZZTIME)

.PHONY: vuln
vuln: need ## govulncheck, pinned in tools/vuln/go.mod; says so where its database is out of reach
	scripts/vuln

.PHONY: lint
lint: need ## golangci-lint, pinned in tools/go.mod
	cd tools && $(GO) build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run

.PHONY: gen
gen: ## renew what is generated: protocol, OpenAPI, state diagram
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf coinop bin demo-out
