# What developers and users type. `make` alone lists the targets; CONTRIBUTING.md documents exactly these.

PYTHON ?= python3
# Processes that lint and build at once; the tests take -n auto.
JOBS ?= 2
# Arguments for pytest: make test ARGS="-k scanner"
ARGS ?=
# Script that prepares engine and base images where no image registry is reachable; used only where it exists.
CONTAINER_BASE ?= ../shared/tools/container-base

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHON CONTAINER_BASE
# Another environment that happens to be active must not leak into this one.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

BIN := .venv/bin
READY := .venv/.ready
COMPILED := .venv/.compiled
SOURCES := shared services tests tools deploy/compose $(if $(wildcard benchmarks/*.py),benchmarks)

.PHONY: help setup demo run test lint fmt proto lock e2e bench coverage up down clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=$(PYTHON) makes the environment (3.11 or later); ARGS=… goes to pytest or to securenet"

setup: $(READY) ## make .venv with everything that is locked; nothing else is changed

$(READY): requirements.txt tools/uv.txt tools/setup.sh $(wildcard shared/*/pyproject.toml services/*/pyproject.toml)
	tools/setup.sh

# Once a change of them: several processes that find nothing compiled would each compile everything for themselves.
$(COMPILED): $(READY) $(shell git grep -lE '^(from|import) numba' -- 'services/*.py' 'shared/*.py' 2>/dev/null)
	@echo "compiling the loops of detection, once; about a minute"
	@$(BIN)/python -m securenet_detection.precompile
	@touch $@

demo: $(COMPILED) ## start the services, train a first model, analyse a capture, scan loopback, stop
	$(BIN)/securenet demo $(ARGS)

run: $(COMPILED) ## the same as demo, but stay up until Ctrl-C
	$(BIN)/securenet demo --stay $(ARGS)

test: $(COMPILED) ## the whole suite but containers, in parallel, with coverage; needs no network
	$(BIN)/python -m pytest -n auto -m "not e2e" --cov --cov-report=term $(ARGS)

coverage: $(COMPILED) ## the same as test, and a browsable report in htmlcov/
	$(BIN)/python -m pytest -n auto -m "not e2e" --cov --cov-report=term --cov-report=html --cov-report=xml $(ARGS)

e2e: $(READY) ## build the images, bring the composition up, call it; needs a container engine and package installs
	tools/engine.sh $(BIN)/python -m pytest -m e2e tests/e2e $(ARGS)

# Every check is a target of its own, so that they run side by side and one that fails does not hide another.
CHECKS := style format types imports scripts stubs contracts breaking tree
.PHONY: $(CHECKS:%=check-%)

lint: $(READY) ## style, types, import rules, contracts, locks
	@$(MAKE) --no-print-directory --keep-going -j$(JOBS) $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(CHECKS:%=check-%) \
	  && echo "lint: all $(words $(CHECKS)) checks passed" \
	  || { echo "lint: failed; each failed check is named above as 'check-…'" >&2; exit 1; }

check-style: $(READY)
	@echo "== style: ruff check"
	@$(BIN)/ruff check --output-format=concise .

check-format: $(READY)
	@echo "== format: ruff format (make fmt mends it)"
	@$(BIN)/ruff format --check .

check-types: $(READY)
	@echo "== types: mypy --strict"
	@$(BIN)/mypy --strict $(SOURCES)

check-imports: $(READY)
	@echo "== imports: import-linter"
	@$(BIN)/lint-imports --no-cache --no-logo

check-scripts:
	@echo "== scripts: bash -n"
	@for script in tools/*.sh .ci/run; do bash -n "$$script" || exit 1; done

check-stubs: $(READY)
	@echo "== stubs: shared/generated is what proto/ generates (make proto mends it)"
	@$(BIN)/python tools/generate.py --check

check-contracts: $(READY)
	@echo "== contracts: buf lint"
	@$(BIN)/python tools/contracts.py lint

check-breaking: $(READY)
	@echo "== breaking: buf breaking against earlier states of proto/"
	@$(BIN)/python tools/contracts.py breaking

check-tree: $(READY)
	@echo "== tree: locks are pinned and name no host; no file names a private path or holds a key"
	@$(BIN)/python tools/tree.py

fmt: $(READY) ## format, and mend what ruff can mend safely
	$(BIN)/ruff check --fix-only --exit-zero --quiet .
	$(BIN)/ruff format .

proto: $(READY) ## generate shared/generated from proto/
	$(BIN)/python tools/generate.py

lock: $(READY) ## resolve the dependencies anew and write every requirements.txt; needs a network
	tools/lock.sh

bench: $(COMPILED) ## run each benchmark; a line of JSON a figure
	@shopt -s nullglob; found=(benchmarks/*.py); \
	if [ $${#found[@]} -eq 0 ]; then echo "bench: there is no benchmark in benchmarks/ yet"; fi; \
	for benchmark in "$${found[@]}"; do echo "== $$benchmark" >&2; $(BIN)/python "$$benchmark" $(ARGS) || exit 1; done

up: ## build and start the composition, wait until it is healthy
	tools/engine.sh tools/compose.sh up

down: ## stop the composition; its volumes stay (ARGS=--volumes removes them)
	tools/engine.sh tools/compose.sh down $(ARGS)

clean: ## remove what was built or cached; .venv and data stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov coverage.xml dist build
	rm -f .coverage .coverage.*
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
