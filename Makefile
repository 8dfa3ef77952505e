# Parallel Virtual Cluster. `make` lists the targets.
SHELL := /bin/bash
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test check down bench lint docs

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install:  ## Install what is needed on Debian 12 (as root; safe to run again)
	@scripts/install

demo: install  ## A cluster of three nodes on this machine, and the main job on it; stays up (PUBLISH=port for another port)
	@$(BIN)/pvc-lab demo $(if $(PUBLISH),--publish $(PUBLISH))

test: install  ## Install what is needed and run all tests
	@scripts/test

lint: install  ## Style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint  ## Lint and the fast tests, in under a minute
	@$(BIN)/pytest -q -m "not services and not lab"

bench: install  ## Measure: a table of figures with their limits, taken in one run
	@$(BIN)/python -m benchmarks

docs: install  ## Build the manual into site/
	@$(BIN)/mkdocs build --quiet --strict

down:  ## Take every lab cluster away: no process, mount, namespace or bridge stays
	@if [ -x $(BIN)/pvc-lab ]; then $(BIN)/pvc-lab down --all; else echo "nothing is installed, so nothing is up"; fi
