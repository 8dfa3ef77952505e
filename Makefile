# Parallel Virtual Cluster. `make` lists the targets.
SHELL := /bin/bash
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: failover soak help install demo test check simulate down bench lint docs

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install:  ## Install what is needed on Debian 12 (as root; safe to run again)
	@scripts/install

demo: install  ## A cluster of three nodes on this machine, and the main job on it; stays up (PUBLISH=port for another port)
	@$(BIN)/pvc-lab demo $(if $(PUBLISH),--publish $(PUBLISH))

test:  ## Install what is needed and run all tests
	@scripts/install dev
	@scripts/test

soak:  ## What shipments, promotions and backups survive, broken again and again in two lab clusters (a quarter of an hour)
	@scripts/install dev
	@$(BIN)/pytest tests/lab -m soak

lint: install  ## Style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint  ## Lint and the fast tests, in under a minute
	@$(BIN)/pytest -q -m "not services and not lab and not long"

simulate:  ## Schedules of faults against the node loops in virtual time (SEEDS=10000, or SEED=17 to see one)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED) --verbose,--seeds $(or $(SEEDS),1000))

failover: install  ## Break a lab cluster in every way of the table and time its recovery (RUNS=10, ROWS="hang power"); stays up
	@$(BIN)/python -m lab.failover $(if $(RUNS),--runs $(RUNS)) $(ROWS)

bench: install  ## Measure: a table of figures with their limits, taken in one run
	@$(BIN)/python -m benchmarks

docs: install  ## Build the manual into site/
	@$(BIN)/mkdocs build --quiet --strict

down:  ## Take every lab cluster away: no process, mount, namespace or bridge stays
	@if [ -x $(BIN)/pvc-lab ]; then $(BIN)/pvc-lab down --all; else echo "nothing is installed, so nothing is up"; fi
