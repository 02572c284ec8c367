# Two commands for a newcomer: `make demo` and `make test`. Everything else is here too: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MEMBERS := schemas services/runtime services/ingest services/screen services/label-router services/trainer-trigger deploy/local deploy/audit tests/world
PYTHON ?= python3
VENV := .venv
SEEDS ?= 10000
FIRST ?= 0
ROUNDS ?= 200
SEED ?= 1
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export UV_PYTHON_DOWNLOADS := never

.PHONY: help setup lock demo test check gpu simulate mutations chaos bench up down clean

help: ## Say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed .venvs/triton/.installed .venvs/trainer/.installed ## Install everything into this folder (no root)

# uv is used where it is found, because it is faster; plain venv and pip do the same from the same locks.
define make_venv
	@if command -v uv >/dev/null; then uv venv -q --allow-existing --python $(PYTHON) $(1); \
	else $(PYTHON) -m venv $(1) || { echo "python3 lacks venv: install your system's python3-venv package, or put uv on the PATH"; exit 1; }; fi
	@if command -v uv >/dev/null; then VIRTUAL_ENV=$(CURDIR)/$(1) uv pip install -q --require-hashes -r $(2); \
	else $(1)/bin/python -m pip install -q --require-hashes --no-deps -r $(2); fi
endef

$(VENV)/.installed: requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	$(call make_venv,$(VENV),requirements.lock)
	@if command -v uv >/dev/null; then VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install -q --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS)); \
	else $(BIN)/python -m pip install -q --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS)); fi
	@touch $@

.venvs/triton/.installed: deploy/local/triton/requirements.lock
	@mkdir -p .venvs
	$(call make_venv,.venvs/triton,$<)
	@touch $@

.venvs/triton-gpu/.installed: deploy/local/triton/requirements-gpu.lock
	@mkdir -p .venvs
	$(call make_venv,.venvs/triton-gpu,$<)
	@touch $@

.venvs/trainer/.installed: services/trainer-trigger/trainer/requirements.lock
	@mkdir -p .venvs
	$(call make_venv,.venvs/trainer,$<)
	@touch $@

lock: ## Resolve the five lock files anew (needs uv)
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header pyproject.toml --group dev $(addprefix --no-emit-package ,$(shell sed -n 's/^name = "\(roadloop-.*\)"/\1/p' $(addsuffix /pyproject.toml,$(MEMBERS)))) -o requirements.lock
	cd deploy/local/triton && uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header requirements.in -o requirements.lock
	cd deploy/local/triton && uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header requirements-gpu.in -o requirements-gpu.lock
	cd bench/peers && uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header requirements.in -o requirements.lock
	cd services/trainer-trigger/trainer && uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header requirements.in -o requirements.lock

.venvs/peers/.installed: bench/peers/requirements.lock
	@mkdir -p .venvs
	$(call make_venv,.venvs/peers,$<)
	@touch $@

check: setup ## Format, lint, types, layers and unit tests (under a minute when warm)
	ruff format --check -q .
	ruff check -q .
	mypy schemas/src services/*/src deploy/local/src deploy/audit/src tests/world/src tests/simulation tests/chaos tests/data tests/builders.py bench
	lint-imports --no-cache
	pytest -q -n auto tests/unit tests/contract
	pytest -q --collect-only tests/integration tests/mishaps tests/e2e tests/simulation tests/chaos tests/gpu >/dev/null # a broken import is seen here, not minutes later

test: setup ## Everything that needs no accelerator, on real servers it starts itself
	$(MAKE) -s check
	pytest -q tests/simulation
	pytest -q tests/integration tests/mishaps tests/e2e tests/chaos

gpu: setup .venvs/triton-gpu/.installed ## What needs an NVIDIA GPU: detectors on it, tested and measured. `make up` uses it then, too
	pytest -q tests/gpu
	PYTHONPATH=. python -u bench/run.py cuda

simulate: setup ## Run the loop on a simulated broker: SEEDS=10000 seeds of faults, on all cores
	python -m tests.simulation seeds $(SEEDS) --first $(FIRST)

chaos: setup ## The whole stack under load while things go wrong: ROUNDS=200; see build/chaos/index.html
	python -m tests.chaos $(ROUNDS) --seed $(SEED)

mutations: setup ## Plant every known defect in the loop, and see each caught by the simulation
	python -m tests.simulation mutations --most 2000

demo: setup ## The whole loop on rendered drives, with pictures in build/demo/index.html
	python -m roadloop_world.demo $(DEMO)

bench: setup .venvs/peers/.installed ## Measure; ONLY=calm, cli, cuda, history, learning, loop, memory, peers, recovery or screen picks one. Writes build/bench/*.json
	PYTHONPATH=. python bench/run.py $(ONLY)

up: setup ## Start the local stack and the services
	roadloop up

down: ## Stop the local stack
	roadloop down

clean: ## Forget everything that was installed and built here
	rm -rf .venv .venvs build
