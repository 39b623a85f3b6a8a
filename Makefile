# Each target sets up its environment by itself, once, in .venv. Python 3.11 or newer and git are all it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-slow test-systems test-cluster test-faults test-browser test-postgres check bench coverage mutants clean

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "%-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv (a few minutes, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	@echo "Installing what the tests and checks need (a minute or two, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: .venv/.installed  ## the whole line on the embedded faces, in minutes
	$(BIN)/abaw run demo $(ARGS)

test: .venv/.installed-dev  ## the default tests, under 12 minutes on two cores
	$(BIN)/python -m pytest $(ARGS)

test-slow: .venv/.installed-dev  ## tests that the default run has no time for, half an hour
	$(BIN)/python -m pytest -m slow $(ARGS)

test-systems: .venv/.installed-dev  ## every system and track; every `abaw` command of the docs
	$(BIN)/python -m pytest -m systems $(ARGS)

test-cluster: .venv/.installed-dev  ## jobs on a Ray head with its dashboard; without Chromium
	$(BIN)/python -m pytest -m 'cluster and not browser' $(ARGS)

test-faults: .venv/.installed-dev  ## what a training survives, on four nodes of one machine
	$(BIN)/python -m pytest -m faults $(ARGS)

test-browser: .venv/.installed-dev  ## the report in headless Chromium (Debian: apt install chromium)
	$(BIN)/python -m pytest -m browser $(ARGS)

test-postgres: .venv/.installed-dev  ## the store on PostgreSQL (Debian: apt install postgresql)
	$(BIN)/python -m pytest -m postgres $(ARGS)

check: .venv/.installed-dev  ## lint, format, types, layers, what is known to be unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive platform experiments leaderboard docs hatch_build.py

bench: .venv/.installed-dev  ## what is measured, against whom, in short: docs/bench.md
	$(BIN)/python benchmarks/bench.py $(ARGS)

coverage: .venv/.installed-dev  ## the lines that the default and the slow tests run: at least 90 %
	mkdir -p .coverage
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage run -m pytest -m slow $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

mutants: .venv/.installed-dev  ## do the tests notice broken code? docs/mutants.md
	$(BIN)/python tests/mutants.py $(ARGS)

clean:  ## caches and the environment; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
