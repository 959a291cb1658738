# What one does with shopwire day to day. `make` alone lists it.
# ARGS passes further arguments on: make run ARGS="--port 8080"

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAMS := $(TARGET)/release
INTEROP := tests/interop
CONFORMANCE := $(abspath $(TARGET))/conformance
PEERS := loadtest/peers
CLIENT := client
EXAMPLES := examples/node-emitter examples/nextjs-shop
# The benchmarks' runner has to be of the version of their library, whose lock entry it shares.
RUNNER_VERSION := $(shell awk -F '"' '/^name = "gungraun-runner"/ { getline; print $$2 }' Cargo.lock)
RUNNER := $(abspath $(TARGET))/tools/gungraun-runner-$(RUNNER_VERSION)/bin/gungraun-runner
COUNTS := $(TARGET)/instructions.json
AUDIT_VERSION := 0.20.2
AUDIT_TOOL := $(abspath $(TARGET))/tools/cargo-deny-$(AUDIT_VERSION)/bin/cargo-deny
PROMTOOL ?= $(or $(shell command -v promtool),$(abspath $(TARGET))/tools/prometheus/usr/bin/promtool)
# Where there is no redis-server, the tests take one from here.
REDIS := $(if $(shell command -v redis-server),,$(abspath $(TARGET))/tools/redis)
ARGS ?=
# What tests outside of Rust start. With the examples, dependencies have the features that Rust's tests have them with:
# without, a second copy of most of them would be built.
DEBUG_BUILD := $(CARGO) build --workspace --bin shopwire --examples --locked

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# The page is left out where there is no npm: then / says how to build it.
.PHONY: run
run: $(if $(shell command -v npm),page) ## Build a release and serve for trying out, with a demo shop playing (DEMO=0: without); loopback only
	$(CARGO) run --release --locked --package shopwire -- serve --dev --journal $(TARGET)/run/journal $(if $(filter 0,$(DEMO)),,--demo) $(ARGS)

# Built again when something it is made of is newer. Its files keep their times if they stay the same, so that the server is not
# built anew for them; the stamp tells when that was last looked at.
PAGE := $(TARGET)/page.built
PAGE_SOURCES := $(shell find $(CLIENT)/page $(CLIENT)/src $(CLIENT)/style.css $(CLIENT)/package-lock.json -type f -not -path '*/built/*')

.PHONY: page
page: $(PAGE) ## Build the live page, which the next build of the server then has at /

$(PAGE): $(PAGE_SOURCES) $(CLIENT)/node_modules/.package-lock.json $(if $(wildcard $(CLIENT)/page/built/index.html),,missing)
	cd $(CLIENT) && npm run --silent page
	@mkdir -p $(@D) && touch $@

.PHONY: missing
missing:

.PHONY: test
test: page lint interop proxies redis $(PROMTOOL) ## Everything that must hold: lint, then all tests, the page in a browser, the peers' check, the instruction counts
	$(if $(REDIS),PATH=$(REDIS)/bin:$$PATH )SHOPWIRE_PROXIES=$(PROXIES) PROMTOOL=$(PROMTOOL) $(CARGO) test --workspace --locked $(ARGS)
	$(MAKE) conformance
	$(MAKE) client
	$(MAKE) browser
	$(MAKE) examples
	$(MAKE) peers-check
	python3 -m unittest discover --start-directory benches
	$(if $(WITHOUT_COUNTS),,$(MAKE) bench-check)

# What Prometheus thinks of metrics and alert rules. Unpacked from Debian's package and not installed: that would start a server.
$(PROMTOOL):
	@mkdir -p $(TARGET)/tools/prometheus
	cd $(TARGET)/tools/prometheus && { apt-get download prometheus || { $(AS_ROOT) apt-get update && apt-get download prometheus; }; } \
	  && dpkg-deb --extract prometheus_*.deb . \
	  || { echo "The tests need promtool, and it cannot be had from here: please install Prometheus, or name a promtool in PROMTOOL" >&2; exit 1; }
	@touch $@

# The tests of several hosts start instances of their own. Unpacked, not installed, as above.
.PHONY: redis
redis: $(REDIS:%=%/bin/redis-server) ## Unpack Debian's redis-server for the tests of several hosts, if none is installed

REDIS_PACKAGES := redis-server redis-tools liblzf1 libjemalloc2 libatomic1

%/tools/redis/bin/redis-server:
	@rm -rf $*/tools/redis && mkdir -p $*/tools/redis/packages $(@D)
	@cd $*/tools/redis/packages && { apt-get download --quiet=2 $(REDIS_PACKAGES) || { $(AS_ROOT) apt-get update && apt-get download --quiet=2 $(REDIS_PACKAGES); }; } \
	  || { echo "The tests of several hosts need redis-server, and it cannot be fetched from here: please install it" >&2; exit 1; }
	@for package in $*/tools/redis/packages/*.deb; do dpkg-deb --extract $$package $*/tools/redis; done
	@printf '%s\n' '#!/bin/sh' 'here=$$(dirname "$$0")/..' \
	  'LD_LIBRARY_PATH=$$(echo "$$here"/usr/lib/*-linux-gnu) exec "$$here/usr/bin/redis-server" "$$@"' > $@
	@chmod +x $@

.PHONY: lint
lint: ## Formatting, clippy and rustdoc, warnings refused
	$(CARGO) fmt --all --check
	cd $(PEERS)/axum && $(CARGO) fmt --check
	cd fuzz && $(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --workspace --no-deps --document-private-items --locked

.PHONY: schema
schema: ## Write what is made from the code: the client's types, docs/asyncapi.json, the settings in docs/operations.md
	$(DEBUG_BUILD)
	$(TARGET)/debug/shopwire schema --typescript >client/src/generated/events.ts
	$(TARGET)/debug/shopwire schema --asyncapi >docs/asyncapi.json
	$(TARGET)/debug/shopwire schema --settings >$(TARGET)/settings.md
	awk -v table=$(TARGET)/settings.md '/^<!-- the end of the settings -->/ { inside = 0 } !inside { print } \
	  /^<!-- settings: / { inside = 1; while ((getline row < table) > 0) print row }' docs/operations.md >$(TARGET)/operations.md
	cat $(TARGET)/operations.md >docs/operations.md

.PHONY: faults
faults: ## Break clients, emitters, server and disk for 10 minutes and 1,000,000 events: see docs/reliability.md
	FAULTS_SECONDS=$${FAULTS_SECONDS:-600} FAULTS_EVENTS=$${FAULTS_EVENTS:-1000000} \
	  $(CARGO) test --package shopwire --test faults --locked $(ARGS) -- --nocapture --exact $(FAULT_TEST)

FAULT_TEST := every_client_gets_exactly_its_events_once_in_one_order_whatever_happens

.PHONY: cluster-faults
cluster-faults: redis ## Three hosts and a Redis that fail in every way for 10 minutes, 300 clients that hop between them; CLUSTER_LOCAL=2 has two of them deliver alone
	CLUSTER_SECONDS=$${CLUSTER_SECONDS:-600} CLUSTER_HOSTS=$${CLUSTER_HOSTS:-3} CLUSTER_CLIENTS=$${CLUSTER_CLIENTS:-300} CLUSTER_PACE_MS=$${CLUSTER_PACE_MS:-50} \
	  $(if $(REDIS),PATH=$(REDIS)/bin:$$PATH )$(CARGO) test --package shopwire --test server --locked -- --nocapture --exact $(HOPPING_TEST)

HOPPING_TEST := cluster::hopping::clients_that_hop_between_hosts_have_everything_once_whatever_happens

# The server is a release build: debug figures would be those of something else.
.PHONY: attack
attack: ## Attack a release build in every way that is known, beside 1,000 good clients: see docs/security.md; ARGS=name for one
	$(CARGO) build --release --package shopwire --locked
	$(CARGO) test --package shopwire --test server --locked --no-run
	@echo "| attack | tries | p99 before, ms | p99 during, ms | ratio | more memory, KiB |"
	@echo "|---|---|---|---|---|---|"
	@SHOPWIRE_BIN=$(abspath $(PROGRAMS))/shopwire ATTACK_CLIENTS=$${ATTACK_CLIENTS:-1000} ATTACK_SECONDS=$${ATTACK_SECONDS:-8} \
	  $(CARGO) test --quiet --package shopwire --test server --locked -- attack::$(ARGS) --test-threads=1 --nocapture

# The Autobahn cases, driven by PyPI's kosoku, against an echo server on the same connections.
.PHONY: conformance
conformance: $(CONFORMANCE)/.installed ## Hold how the server speaks WebSocket against RFC 6455, by the Autobahn cases; CASES="5.* 7.1.6" for some
	$(DEBUG_BUILD)
	PYTHONPATH=$(CONFORMANCE) python3 tests/conformance/run.py $(TARGET)/debug/examples/echo $(foreach case,$(CASES),'$(case)')

$(CONFORMANCE)/.installed: tests/conformance/requirements.txt
	@python3 -m pip --version >/dev/null || { echo "make conformance needs Python 3.11 or later with pip: please install it" >&2; exit 1; }
	rm -rf $(CONFORMANCE)
	python3 -m pip install --quiet --disable-pip-version-check --target $(CONFORMANCE) --requirement $<
	@touch $@

.PHONY: simulate
simulate: ## Simulate the server with faults: SEEDS=50000 or SEEDS=7000..9000 many runs, SEED=7 one, told step by step
	SHOPWIRE_SEEDS=$(or $(SEEDS),20000) SHOPWIRE_SEED=$(SEED) \
	  $(CARGO) test --package shopwire --test simulation --locked -- whatever_happens --nocapture $(ARGS)

# Each target begins with the seeds and with what earlier runs have found worth keeping in target/fuzz/corpus.
.PHONY: fuzz
fuzz: fuzz-tools ## Look for inputs that are taken wrongly: FUZZ_SECONDS=60 for each target, FUZZ_TARGET=frames for one, INPUT=file replays
	$(FUZZ) build --fuzz-dir fuzz $(FUZZ_TARGET)
	@for target in $(or $(FUZZ_TARGET),$(FUZZ_TARGETS)); do \
	  echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
	  mkdir -p $(FUZZED)/corpus/$$target $(FUZZED)/found/$$target; \
	  $(FUZZ) run --fuzz-dir fuzz $$target $(or $(abspath $(INPUT)),$(FUZZED)/corpus/$$target fuzz/seeds/$$target) -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_funcs=0 -print_final_stats=1 \
	    $$([ ! -f fuzz/dictionaries/$$target.dict ] || echo -dict=fuzz/dictionaries/$$target.dict) \
	    -artifact_prefix=$(FUZZED)/found/$$target/ \
	  || { echo "fuzz: $$target does not hold; the input is $(or $(INPUT),the newest file in $(FUZZED)/found/$$target)." >&2; \
	       echo "Replay it with: make fuzz FUZZ_TARGET=$$target INPUT=FILE" >&2; \
	       echo "Once it is mended, keep the input in fuzz/seeds/$$target: make test replays it." >&2; exit 1; }; \
	done

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZED := $(abspath $(TARGET))/fuzz
FUZZ_VERSION := 0.13.2
FUZZ_TOOL := $(abspath $(TARGET))/tools/cargo-fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz
NIGHTLY := env -u RUSTUP_TOOLCHAIN rustup run nightly
FUZZ = CARGO_TARGET_DIR=$(FUZZED) $(NIGHTLY) $(FUZZ_TOOL)

.PHONY: fuzz-tools
fuzz-tools: nightly $(FUZZ_TOOL)

$(FUZZ_TOOL):
	CARGO_PROFILE_DEV_DEBUG=none $(CARGO) install --debug --locked --no-track \
	  --version $(FUZZ_VERSION) --root $(dir $(@D)) cargo-fuzz

# Sanitizers and Miri are nightly's alone.
.PHONY: nightly
nightly:
	@rustup run nightly rustc --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal \
	  || { echo "This needs a nightly Rust: please install one with rustup" >&2; exit 1; }

# shopwire has no unsafe code, and the compiler sees to that. This is for what it stands on where threads
# share memory, and where bytes are borrowed across a parser's buffers.
.PHONY: miri
miri: nightly ## Run the tests of rings, parser, blocks and frames under Miri, which finds undefined behaviour
	@rustup component add miri rust-src --toolchain nightly
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4 CARGO_TARGET_DIR=$(abspath $(TARGET))/miri \
	  $(NIGHTLY) cargo miri test --package shopwire --lib --locked -- $(or $(ARGS),$(UNDER_MIRI))

UNDER_MIRI := ring:: event::json event::stored event::block wire::frame wire::message

.PHONY: audit
audit: $(AUDIT_TOOL) ## Hold all dependencies against known vulnerabilities, and against the licences and sources that are allowed
	$(AUDIT_TOOL) --workspace --config $(abspath .ci/deny.toml) check $(AUDIT_CHECKS)
	cd fuzz && $(AUDIT_TOOL) --workspace --config $(abspath .ci/deny.toml) check $(AUDIT_CHECKS)

$(AUDIT_TOOL):
	CARGO_PROFILE_DEV_DEBUG=none $(CARGO) install --debug --locked --no-track \
	  --version $(AUDIT_VERSION) --root $(dir $(@D)) cargo-deny

.PHONY: bench
bench: bench-tools ## Measure the hot path, case by case: wall time, then instructions
	$(CARGO) bench --package shopwire --bench time --locked $(if $(ARGS),-- $(ARGS))
	$(COUNT) $(ARGS)

.PHONY: bench-check
bench-check: $(COUNTS) ## Fail if a case executes over 5 % more instructions than in benches/baseline.toml
	python3 benches/counts.py check $(COUNTS)

.PHONY: bench-baseline
bench-baseline: $(COUNTS) ## Count the instructions anew and make them the baseline
	python3 benches/counts.py write $(COUNTS)

COUNT = GUNGRAUN_RUNNER=$(RUNNER) $(CARGO) bench --package shopwire --bench instructions --locked -- --parallel=auto

# Counted anew each time it is asked for.
.PHONY: $(COUNTS)
$(COUNTS): bench-tools
	$(COUNT) --output-format=json >$@

# The version stands in Cargo.toml; the tests hold the client's against it.
VERSION := $(shell awk -F '"' '/^version = / { print $$2; exit }' Cargo.toml)
DIST := $(abspath $(TARGET))/dist
DEB_VERSION := 3.8.0
DEB_TOOL := $(abspath $(TARGET))/tools/cargo-deb-$(DEB_VERSION)/bin/cargo-deb
SBOM_VERSION := 0.5.9
SBOM_TOOL := $(abspath $(TARGET))/tools/cargo-cyclonedx-$(SBOM_VERSION)/bin/cargo-cyclonedx

.PHONY: dist
dist: page $(DEB_TOOL) $(SBOM_TOOL) $(CLIENT)/dist/index.js ## Everything of a release, in target/dist: program, Debian package, npm package, what they are made of, checksums
	rm -rf $(DIST) && mkdir -p $(DIST)
	$(CARGO) build --release --package shopwire --locked
	objcopy --strip-debug $(PROGRAMS)/shopwire $(DIST)/shopwire
	tar --create --gzip --directory $(DIST) --remove-files --file $(DIST)/shopwire-$(VERSION)-$$(uname -m)-linux.tar.gz shopwire
	$(DEB_TOOL) --no-build --locked --strip --quiet --output $(DIST)/
	cd $(CLIENT) && npm pack --silent --pack-destination $(DIST) >/dev/null
	$(SBOM_TOOL) cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps
	mv shopwire_bin.cdx.json $(DIST)/shopwire-$(VERSION).cdx.json && rm loadtest/loadtest_bin.cdx.json loadtest/peers/floor/floor_bin.cdx.json
	cd $(CLIENT) && npm sbom --omit=dev --sbom-format=cyclonedx --sbom-type=library >$(DIST)/shopwire-$(VERSION)-npm.cdx.json
	cd $(DIST) && sha256sum -- * >SHA256SUMS && cat SHA256SUMS

$(DEB_TOOL):
	CARGO_PROFILE_DEV_DEBUG=none $(CARGO) install --debug --locked --no-track \
	  --version $(DEB_VERSION) --root $(dir $(@D)) cargo-deb

$(SBOM_TOOL):
	CARGO_PROFILE_DEV_DEBUG=none $(CARGO) install --debug --locked --no-track \
	  --version $(SBOM_VERSION) --root $(dir $(@D)) cargo-cyclonedx

.PHONY: debian
debian: ## Install the Debian package of `make dist` on a fresh Debian 12 with a systemd of its own, use, update and remove it; root only
	tests/debian/run.sh $(DIST)/shopwire_*.deb $(abspath $(TARGET))/debian

DESTDIR ?=
PREFIX ?= /usr/local

.PHONY: install
install: ## Install a built release: program and documents below PREFIX (/usr/local), for packages below DESTDIR
	install -D -m 755 $(PROGRAMS)/shopwire $(DESTDIR)$(PREFIX)/bin/shopwire
	install -d $(DESTDIR)$(PREFIX)/share/doc/shopwire/docs
	install -m 644 README.md CHANGELOG.md $(DESTDIR)$(PREFIX)/share/doc/shopwire/
	install -m 644 docs/* $(DESTDIR)$(PREFIX)/share/doc/shopwire/docs/
	cp -R deploy $(DESTDIR)$(PREFIX)/share/doc/shopwire/

# Callgrind, and the program that runs the benchmarks under it: built without optimization, which takes half the time.
.PHONY: bench-tools
bench-tools: $(RUNNER)
	@command -v valgrind >/dev/null || { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install --yes valgrind; } \
	  || { echo "The benchmarks need Valgrind, and it cannot be installed from here: please install it" >&2; exit 1; }

AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo --non-interactive)

$(RUNNER):
	@test -n "$(RUNNER_VERSION)" || { echo "Cargo.lock names no gungraun-runner" >&2; exit 1; }
	CARGO_PROFILE_DEV_DEBUG=none $(CARGO) install --debug --locked --no-track \
	  --version $(RUNNER_VERSION) --root $(dir $(@D)) gungraun-runner

.PHONY: loadtest
loadtest: ## Hold a release build against the founding page: 10,000 connections, every delivery accounted for
	$(CARGO) build --release --workspace --locked
	$(PROGRAMS)/loadtest seed $(ARGS)

.PHONY: compare
compare: peers ## Measure shopwire beside the peers and write docs/benchmarks.md; about an hour, or what target/peers lacks of it
	$(CARGO) build --release --workspace --locked
	$(PROGRAMS)/loadtest peers --markdown docs/benchmarks.md $(ARGS)

# Every peer does the same job, and so does shopwire: what is compared is comparable. What they do, and not how fast:
# the one in Rust is built without optimization, and shares with the server what both are made of.
.PHONY: peers-check
peers-check: $(PEERS)/node_modules/.package-lock.json
	for peer in bun ws socketio; do node $(PEERS)/check.mjs $$peer || exit 1; done
	CARGO_TARGET_DIR=$(abspath $(TARGET)) $(CARGO) build --manifest-path $(PEERS)/axum/Cargo.toml --locked
	node $(PEERS)/check.mjs axum -- $(abspath $(TARGET))/debug/axum-peer
	$(DEBUG_BUILD)
	node $(PEERS)/check.mjs shopwire -- $(abspath $(TARGET))/debug/shopwire serve

.PHONY: peers
peers: $(PEERS)/node_modules/.package-lock.json ## Install and build the servers that shopwire is measured beside
	cd $(PEERS)/axum && CARGO_TARGET_DIR=target $(CARGO) build --release --locked

$(PEERS)/node_modules/.package-lock.json: $(PEERS)/package-lock.json
	@command -v npm >/dev/null || { echo "the peers need Node.js with npm: please install it" >&2; exit 1; }
	npm ci --prefix $(PEERS) --no-audit --no-fund
	@touch $@

# Its tests talk to a server. Built before it is tested: the tests load the package as an app does.
.PHONY: client
client: $(CLIENT)/node_modules/.package-lock.json ## Check, build and test the npm package: browser client, React, emit helpers
	$(DEBUG_BUILD)
	cd $(CLIENT) && npm run --silent check && npm run --silent build
	cd $(CLIENT) && SHOPWIRE_BIN=$(abspath $(TARGET))/debug/shopwire npm test

# Debian's browser; CHROMIUM names another one.
CHROMIUM ?= $(or $(shell command -v chromium),/usr/bin/chromium)

.PHONY: browser
browser: page $(CLIENT)/node_modules/.package-lock.json ## Test the live page in Chromium against the real server
	@test -x $(CHROMIUM) || { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install --yes --no-install-recommends chromium; } \
	  || { echo "The page's tests need Chromium, and it cannot be installed from here: please install it, or name a browser in CHROMIUM" >&2; exit 1; }
	$(DEBUG_BUILD)
	cd $(CLIENT) && CHROMIUM=$(CHROMIUM) SHOPWIRE_BIN=$(abspath $(TARGET))/debug/shopwire npm run --silent browser

$(CLIENT)/node_modules/.package-lock.json: $(CLIENT)/package-lock.json
	@command -v npm >/dev/null || { echo "the client needs Node.js with npm: please install it" >&2; exit 1; }
	npm ci --prefix $(CLIENT) --no-audit --no-fund
	@touch $@

# They use the package as it is published: built, which `make client` does.
.PHONY: examples
examples: $(EXAMPLES:%=%/node_modules/.package-lock.json) ## Run the examples against a server: Node, Python, Next.js
	cd $(CLIENT) && SHOPWIRE_EXAMPLES=1 SHOPWIRE_BIN=$(abspath $(TARGET))/debug/shopwire npm test -- test/examples

examples/%/node_modules/.package-lock.json: examples/%/package-lock.json $(CLIENT)/dist/index.js
	npm ci --prefix $(@D:%/node_modules=%) --no-audit --no-fund
	@touch $@

$(CLIENT)/dist/index.js: $(CLIENT)/node_modules/.package-lock.json $(wildcard $(CLIENT)/src/*.ts $(CLIENT)/src/*/*.ts $(CLIENT)/src/*/*.tsx)
	$(DEBUG_BUILD)
	cd $(CLIENT) && npm run --silent build
	@touch $@

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

# Debian's nginx and HAProxy, which tests put before the server. Unpacked, not installed: nothing begins to serve by itself.
PROXIES := $(abspath $(TARGET))/proxies
PROXY_PACKAGES := nginx libnginx-mod-stream haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1

.PHONY: proxies
proxies: $(PROXIES)/.unpacked

$(PROXIES)/.unpacked:
	@rm -rf $(PROXIES) && mkdir -p $(PROXIES)/packages
	@cd $(PROXIES)/packages && { apt-get download --quiet=2 $(PROXY_PACKAGES) || { $(AS_ROOT) apt-get update && apt-get download --quiet=2 $(PROXY_PACKAGES); }; } \
	  || { echo "The tests behind proxies need these packages of Debian, and they cannot be fetched from here: $(PROXY_PACKAGES)" >&2; exit 1; }
	@for package in $(PROXIES)/packages/*.deb; do dpkg-deb --extract $$package $(PROXIES); done
	@touch $@
