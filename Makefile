# make demo   a small simulated trial, analysed from end to end
# make test   the tests (make test-all adds the slow ones)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORES ?= 2

.PHONY: install demo test test-all bench lint docs clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make.*\)/\1/p' Makefile

$(STAMP): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "conn needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/python scripts/demo.py --cores $(CORES)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(CORES) --dist loadgroup

test-all: $(STAMP)
	$(BIN)/python -m pytest -n $(CORES) --dist loadgroup -m ''

bench: $(STAMP)
	$(BIN)/python bench/run.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check workflow Snakefile
	$(BIN)/python scripts/lint_workflow.py
	$(BIN)/codespell src workflow tests docs config README.md CHANGELOG.md

docs: $(STAMP)
	$(BIN)/sphinx-build -W -b html docs docs/_build

clean:
	rm -rf demo docs/_build bench/latest.json
