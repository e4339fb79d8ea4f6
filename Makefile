# Two commands: `make run` does the main job, `make test` passes the tests. Each sets up .venv first.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# For a CUDA build of torch, change the line of torch in constraints.txt (README, "On a GPU").

.PHONY: setup run test test-all check ui servers clean help
.DEFAULT_GOAL := help

help:          ## list the targets
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.ready: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

setup: $(VENV)/.ready ## make .venv with everything pinned, tests' needs included

run: setup     ## the main job: the whole pipeline on the embedded corpus; ARGS="--preset smoke" passes arguments on
	$(BIN)/sear run $(ARGS)

test: setup    ## the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-all: setup ## the slow tests too
	$(BIN)/python -m pytest -m 'slow or not slow' $(ARGS)

check: setup   ## exactly what CI runs: lint, format, types, layers, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

ui: setup      ## MLflow's pages on the default store
	$(BIN)/mlflow ui --backend-store-uri "sqlite:///$(CURDIR)/mlruns/mlflow.db"

servers: setup ## Prefect, MLflow, PostgreSQL and an S3 store as local processes, to try a team's set-up without Docker
	$(BIN)/python -m flows.servers

clean:         ## remove caches and build leftovers; never data, runs or the store
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache build *.egg-info
	find flows tasks sear_core tests -name __pycache__ -type d -prune -exec rm -rf {} +
