# Every target does its own set-up; all it needs is Python 3.11+ and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HOST   ?= 127.0.0.1
PORT   ?= 8080
OUT    ?=
COMPARE ?=
HISTORIES ?= 10000
SEED   ?= 1
ARGS   ?=
SPECS  ?=
TESTS  ?= tests/e2e

.DEFAULT_GOAL := help
.PHONY: help run test check reconcile simulate simulate-histories e2e bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run ## set up and start API and reconciler on HOST:PORT, simulated unless NOMAD_ADDR is set
	AI4PAPI_AUTH=$${AI4PAPI_AUTH:-local} $(BIN)/ai4papi-run --host $(HOST) --port $(PORT)

test: $(VENV)/dev ## set up and run the tests (real components: those that are here)
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev ## lint, types, import contracts, advisories, tests: what every commit passes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pip check
	$(BIN)/python tests/advisories.py
	$(BIN)/python -m pytest $(ARGS)

reconcile: $(VENV)/run ## one pass over the spec files in SPECS= and every deployment: exit 0 when settled
	AI4PAPI_AUTH=$${AI4PAPI_AUTH:-local} $(BIN)/python -m reconciler --once $(if $(SPECS),-f $(SPECS)) $(ARGS)

simulate: $(VENV)/run ## serve the simulated Nomad, for curl and Nomad's own CLI
	$(BIN)/python -m reconciler.cluster.simulator $(ARGS)

simulate-histories: $(VENV)/dev ## seeded histories with faults: HISTORIES=10000 SEED=1, one again with TRACE=1, a bug put in with MUTATION=
	$(BIN)/python -m tests.simulation --histories $(HISTORIES) --seed $(SEED) $(if $(MUTATION),--mutation $(MUTATION)) $(if $(TRACE),--trace)

e2e: $(VENV)/dev ## the tests on real components: Nomad, a Docker engine, Keycloak, Chromium; TESTS=tests/e2e
	$(BIN)/python -m pytest -m e2e $(TESTS) $(ARGS)

bench: $(VENV)/dev ## every figure beside its floor, in one run; OUT=file.json, QUICK=1, COMPARE=old.json, ARGS=--help
	$(BIN)/python -m tests.bench $(if $(OUT),--out $(OUT)) $(if $(QUICK),--quick) $(if $(COMPARE),--compare $(COMPARE)) $(ARGS)

lock: $(VENV)/dev ## write the lock files anew
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-find-links --no-emit-index-url -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-find-links --no-emit-index-url --all-extras --group dev -o requirements-dev.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-find-links --no-emit-index-url --extra postgres -c requirements.lock -o docker/requirements.lock pyproject.toml

clean: ## remove what the other targets made, the store in var/ excepted
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: requirements.lock pyproject.toml | $(BIN)/python
	test -e $(VENV)/dev || $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

$(VENV)/dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@ $(VENV)/run
