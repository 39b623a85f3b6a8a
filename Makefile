# Each target sets up its environment by itself, once, in .venv. Python 3.11 or newer and git are all it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow test-cluster check bench clean

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

test-slow: .venv/.installed-dev  ## tests of half a minute or more each
	$(BIN)/python -m pytest -m slow $(ARGS)

test-cluster: .venv/.installed-dev  ## tests that start a Ray head with its dashboard
	$(BIN)/python -m pytest -m cluster $(ARGS)

check: .venv/.installed-dev  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-dev  ## what is measured, against whom: see benchmarks/
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## caches and the environment; runs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
