# Sauro. `make` alone lists the targets; each one sets up .venv first if it has to.
PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := contracts domain projections services tests

export ONLY JSON PROFILE SCALE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench lock format clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo '  ARGS="…" passes options on; PYTHON=python3.12 chooses the interpreter'

setup: $(READY) ## create .venv with the locked dependencies

demo: $(READY) ## run the four programmes on real engines
	$(BIN)/sauro demo $(ARGS)

test: $(READY) ## run the tests, in as many processes as there are cores, four at most (long ones come early)
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY) ## lint, format, types, import directions, freshness of generated files
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sauro contracts check

bench: $(READY) ## run the benchmarks (ONLY=, JSON=, PROFILE=, SCALE=)
	$(BIN)/python -m tests.benchmarks $(ARGS)

lock: $(READY) ## resolve requirements.lock again (ARGS=--upgrade takes newer versions)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command 'make lock' --extra embedded --extra dev \
	  --output-file requirements.lock $(ARGS) pyproject.toml

format: $(READY) ## format and fix what can be fixed
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean: ## remove .venv, caches and build results
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv comes from the lock itself, by hash. uv does not read pip's settings: where only pip knows the way to an
# index, pip installs the same locked files.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Sauro needs Python 3.11 or newer; "$(PYTHON)" is older or missing. Name one: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12' >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@awk '/^uv==/ {inside = 1} inside {print} inside && !/\\$$/ {exit}' requirements.lock > $(VENV)/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --offline -e .
	@touch $@
