# modeldrop. Two commands to begin with: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# Our own checks must not depend on what else is on the machine's import path.
export PYTHONPATH :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check up bench bench-references checkov chromium publish-node faults deploy fmt lock clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv with everything in it, .venv/bin/modeldrop included

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "modeldrop needs Python 3.11 or later; name one with PYTHON=..."; exit 1; }
	@echo "setting up $(VENV) (a minute or two and 1.4 GB, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(INSTALLED)

demo: setup ## Play the main job on this machine, end to end (KEEP=1 leaves it up)
	@$(BIN)/modeldrop demo

# Each process has emulators of its own.
PYTEST := $(BIN)/python -m pytest --numprocesses=$(or $(PROCESSES),auto) --maxprocesses=8
test: setup ## Run all tests (REQUIRE_EMULATORS=1: fail where the official emulators are missing; PROCESSES=N)
	@$(PYTEST)

check: setup ## Format, lint, types, import rules, then all tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(PYTEST)

up: setup ## Run the embedded cloud until Ctrl-C
	@$(BIN)/modeldrop up

bench: setup ## Measure, and print ratios against references of the same run
	@$(BIN)/python -m tests.bench

bench-references: ## Make .venv-references with Evidently and whylogs (1 GB), to hold drift reports against in make bench
	@test -x .venv-references/bin/python || $(PYTHON) -m venv .venv-references
	@.venv-references/bin/python -m pip install --quiet -r tests/bench/references.txt
	@touch .venv-references/installed

checkov: ## Make .venv-checkov with checkov, which looks through infra/terraform in make test
	@test -x .venv-checkov/bin/python || $(PYTHON) -m venv .venv-checkov
	@.venv-checkov/bin/python -m pip install --quiet checkov==3.3.30

chromium: ## Install Chromium for the tests of the dashboard in a real browser (Debian, Ubuntu; as root)
	@command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium; }

publish-node: ## Install what examples/publish-node needs (Node 20 or later)
	@npm ci --prefix examples/publish-node --no-audit --no-fund

faults: setup ## Seed faults into a copy of the code; every one must turn a test red
	@$(BIN)/python -m tests.faults

deploy: setup ## Deploy the functions and smoke-test them: PROJECT=... REGION=... (DRY_RUN=1 prints every command)
	@test -n "$(PROJECT)" -a -n "$(REGION)" || { echo "make deploy PROJECT=... REGION=... [ONLY='api ...'] [DEPLOY_FLAGS=...] [DRY_RUN=1]"; exit 2; }
	@set -f; $(BIN)/python infra/deploy/deploy.py --project=$(PROJECT) --region=$(REGION) $(if $(ONLY),--only $(ONLY)) $$DEPLOY_FLAGS $(if $(filter-out 0,$(DRY_RUN)),--dry-run)

fmt: setup ## Format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

COMPILE := $(BIN)/pip-compile --quiet --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras
lock: setup ## Pin the requirements anew from pyproject.toml
	@$(COMPILE) --output-file=requirements.txt pyproject.toml
	@$(COMPILE) --extra=cli --extra=onnx --extra=parquet --extra=dev --constraint=requirements.txt --output-file=requirements-dev.txt pyproject.toml

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .venv-references .venv-checkov .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
