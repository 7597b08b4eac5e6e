# Every command of the project. `make` alone lists them.

# Built things live outside the tree, so that a fresh clone starts warm.
CACHE ?= $(or $(CANDLEPOWER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/candlepower)
export CANDLEPOWER_CACHE := $(CACHE)
RUST_VERSION := $(shell rustc --version 2>/dev/null | cut -d' ' -f2)
export CARGO_TARGET_DIR ?= $(CACHE)/target-rust-$(RUST_VERSION)
export CARGO_TERM_QUIET ?= true

DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(CACHE)/cargo-fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz
# How long `make fuzz` takes for each target, and which targets; all of them by default.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?=
# One set of features and one profile for everything, so that each dependency compiles once.
CARGO_FLAGS := --release --workspace --all-features --locked
SHELL_SCRIPTS := $(shell git ls-files -co --exclude-standard | xargs -r grep -lE '^\#!.*(bash|/sh)$$' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast generate format-check clippy deny lint-shell unit drift chart-test rules-test build \
        check-cuda check-arm images cluster-test faults e2e measure cost perf truth scale chaos fuzz example pictures up monitoring down

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## A real cluster, a real model, the first tokens
	@e2e/demo

test: ## All checks, on a real cluster too (this is what CI runs)
	@.ci/stages format-check lint-shell clippy deny unit build drift chart-test rules-test cluster-test faults e2e down

test-fast: ## All checks that need no cluster
	@.ci/stages format-check lint-shell clippy unit build drift chart-test

generate: build ## Write what is generated: CRDs, dashboards, the report's schema, the chart's copies of them, manifests/install.yaml
	@$(CARGO_TARGET_DIR)/release/crdgen crds
	@$(CARGO_TARGET_DIR)/release/observability-gen dashboards dashboards
	@$(CARGO_TARGET_DIR)/release/observability-gen operator-rules charts/candlepower/files/operator-rules.yaml
	@$(CARGO_TARGET_DIR)/release/candlepower report-schema > docs/reference/report.schema.json
	@.ci/with-helm charts/generate

measure: build ## Print sizes, memory and start-up times as a table
	@e2e/measure

cost: ## Print what metrics and traces cost
	@e2e/cost

fuzz: $(CARGO_FUZZ) ## Fuzz all that reads foreign bytes, FUZZ_SECONDS (600) for each target
	@PATH="$(dir $(CARGO_FUZZ)):$$PATH" server/fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

$(CARGO_FUZZ):
	@echo "building cargo-fuzz $(FUZZ_VERSION), once"
	@CARGO_TARGET_DIR=$(CACHE)/build-cargo-fuzz cargo install cargo-fuzz --version $(FUZZ_VERSION) --locked \
	  --root $(CACHE)/cargo-fuzz-$(FUZZ_VERSION)
	@rm -rf $(CACHE)/build-cargo-fuzz

# Parts and options of e2e/perf/run, such as PERF="decode prefill --rounds 1".
PERF ?=

perf: ## Speed and memory beside llama.cpp and FastAPI with Transformers
	@e2e/perf/run $(PERF)

example: build ## Make the report of docs/examples anew
	@e2e/example

# Parts and options of e2e/truth/run, such as TRUTH="tools --rounds 1".
TRUTH ?=

truth: ## Whether the load generator's figures are true, beside a server's log and other tools
	@e2e/truth/run $(TRUTH)

# Options of e2e/scale/run, such as SCALE="--objects 100".
SCALE ?=

scale: ## The operator with a thousand LLMDeployments on nodes that KWOK pretends
	@e2e/scale/run $(SCALE)

# Options of e2e/scale/chaos, such as CHAOS="--seed 7".
CHAOS ?=

chaos: ## The operator killed fifty times, without an API server and a node short: is everything right afterwards?
	@FAULTS_KILLS=50 FAULTS_OUTAGE=60 e2e/faults/run
	@e2e/scale/chaos $(CHAOS)

pictures: build ## Draw the dashboards for the documentation, from a model under load
	@DASHBOARD_PICTURES=$(CURDIR)/docs/pictures e2e/run -k dashboards

up: ## Start the local cluster
	@e2e/cluster/up

monitoring: up ## prometheus-operator, Prometheus and Alertmanager on the local cluster
	@e2e/cluster/images monitoring
	@e2e/cluster/monitoring/deploy

down: ## Stop the local cluster and leave nothing behind
	@e2e/cluster/down

# The stages of the tests. Each can be run alone.

format-check: ## Formatting
	@cargo fmt --all --check

lint-shell: ## Shell scripts
	@.ci/require shellcheck && shellcheck -x $(SHELL_SCRIPTS)

clippy: ## Lints
	@.ci/cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings

deny: $(DENY) ## Licences and sources of all dependencies
	@$(DENY) --log-level error check --hide-inclusion-graph licenses bans sources

$(DENY):
	@echo "building cargo-deny $(DENY_VERSION), once"
	@CARGO_TARGET_DIR=$(CACHE)/build-cargo-deny cargo install cargo-deny --version $(DENY_VERSION) --locked \
	  --no-default-features --root $(CACHE)/cargo-deny-$(DENY_VERSION)
	@rm -rf $(CACHE)/build-cargo-deny

unit: ## Unit and integration tests, with the real small model
	@CANDLEPOWER_TEST_MODEL="$$(e2e/cluster/model fetch | tail -n 1)" .ci/cargo test $(CARGO_FLAGS) --tests

build: ## The binaries
	@.ci/cargo build $(CARGO_FLAGS) --bins

check-cuda: ## Compile and link the server for CUDA but for flash-attention, without CUDA or a GPU (it has not run to its end yet)
	@server/cuda/check

check-arm: ## The kernels' tests for 64-bit Arm, emulated
	@server/kernels/check-arm

drift: ## Generated files are up to date
	@.ci/drift

chart-test: ## The Helm chart, without a cluster
	@.ci/with-helm charts/test

images: build ## Container images, loaded into the local cluster
	@e2e/cluster/images server operator bench jaeger prometheus

rules-test: build ## The alert rules: promtool checks them and lets each fire, and not fire
	@operator/tests/rules/run

cluster-test: ## The local cluster itself
	@e2e/cluster/test

faults: build ## The operator before a bare etcd and API server, and a proxy that makes mistakes
	@e2e/faults/run

e2e: build ## The product, on the local cluster
	@e2e/run
