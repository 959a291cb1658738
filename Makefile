# What one does with shopwire day to day. `make` alone lists it.
# ARGS passes further arguments on: make run ARGS="--port 8080"

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/release
INTEROP := tests/interop
ARGS ?=

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## Build a release and serve for trying out (serve --dev): no configuration, loopback only
	$(CARGO) run --release --locked --package shopwire -- serve --dev $(ARGS)

.PHONY: test
test: lint interop ## Everything that must hold: lint, then all tests
	$(CARGO) test --workspace --locked $(ARGS)

.PHONY: lint
lint: ## Formatting, clippy and rustdoc, warnings refused
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --workspace --no-deps --document-private-items --locked

.PHONY: bench
bench: ## Time the hot path's two halves: a line to its frame, a block to its receivers
	$(CARGO) bench --package shopwire --bench hot_path --locked $(ARGS)

.PHONY: loadtest
loadtest: ## Hold a release build against the founding page: 10,000 connections, every delivery accounted for
	$(CARGO) build --release --workspace --locked
	$(PROGRAMS)/loadtest seed $(ARGS)

# The WebSocket clients of Node and Python that the tests connect with. Installed once, and again when their list changes.
.PHONY: interop
interop: $(INTEROP)/node_modules/.package-lock.json $(INTEROP)/python_modules/.installed

$(INTEROP)/node_modules/.package-lock.json: $(INTEROP)/package-lock.json
	@command -v npm >/dev/null || { echo "make test needs Node.js with npm: please install it" >&2; exit 1; }
	npm ci --prefix $(INTEROP) --no-audit --no-fund
	@touch $@

$(INTEROP)/python_modules/.installed: $(INTEROP)/requirements.txt
	@python3 -m pip --version >/dev/null || { echo "make test needs Python 3.11 or later with pip: please install it" >&2; exit 1; }
	rm -rf $(INTEROP)/python_modules
	python3 -m pip install --quiet --disable-pip-version-check --target $(INTEROP)/python_modules --requirement $<
	@touch $@
