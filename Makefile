# Freehold. `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help install up test test-long drill bench bench-long lint format lock install-dev
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
SYSTEM := systems/database_per_service
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

help: ## list these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## make .venv with Freehold, from the lock files

up: install ## install what is missing, then run the reference system (Ctrl-C stops it)
	@$(BIN)/freehold up $(SYSTEM)

test: install-dev ## everything that CI runs: style, types, layers, tests, faults
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	# Java's archive is made beside mypy, or every Kafka of the tests would start without it.
	$(BIN)/python -m freehold.runtime.embedded.training & $(BIN)/mypy && wait
	$(BIN)/lint-imports
	# Five at a time, also on two cores, since many tests wait; the faults alone, since they measure how long recovery takes.
	# In the order of tests/conftest.py: pytest-xdist's own begins with the files of most tests, which are quick ones.
	$(BIN)/pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder --ignore tests/faults
	$(BIN)/pytest tests/faults

test-long: install-dev ## the tests of the seams with all the products, seeds, places and pairs that they know
	FREEHOLD_THOROUGH=1 $(BIN)/pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder tests/seams

drill: install ## kill, stop and starve the reference system (KILLS=250 MINUTES=30 SEED=7), and compare everything
	$(BIN)/freehold drill $(SYSTEM) --kills $(or $(KILLS),250) --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

bench: install-dev ## the published figures, each beside its limit (under 5 minutes)
	$(BIN)/python -m benchmarks

bench-long: install-dev ## memory with a large backlog, cold start
	$(BIN)/python -m benchmarks --long

lint: install-dev ## style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## write the code as the formatter wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## resolve the packages anew and write lock/*.txt (needs uv)
	@./scripts/lock

install-dev: $(VENV)/.installed-dev

# The stamps are newer than what they were made of, or the step is done again.
$(VENV)/bin/python:
	@./scripts/make-venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python lock/build.txt lock/run.txt pyproject.toml
	$(PIP) install --quiet --require-hashes -r lock/build.txt
	$(PIP) install --require-hashes -r lock/run.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed lock/dev.txt
	$(PIP) install --require-hashes -r lock/dev.txt
	@touch $@
