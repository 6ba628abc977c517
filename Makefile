# Two commands on a fresh machine: `make up` and `make test`. Everything else is for those who work here.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: up test lint bench world docs lock clean

up: .venv/run          ## set everything up and run the main job, until Ctrl-C
	@$(BIN)/tenure up

test: .venv/dev        ## set everything up and pass all tests
	@$(BIN)/pytest -n 2

lint: .venv/dev        ## format, lints, types, the staircase
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

bench: .venv/dev       ## measure, print a table, write bench/results.json
	@$(BIN)/python -m bench

world: .venv/dev       ## many randomized lives against the simulated providers
	@TENURE_WORLD_LIVES=1000 $(BIN)/pytest tests/world/test_stripe_world.py --timeout 3600
	@TENURE_WORLD_LIVES=10000 $(BIN)/pytest -n 2 tests/world/test_identity_world.py tests/world/test_supabase_world.py --timeout 3600

docs: .venv/dev        ## write the generated pages anew
	@$(BIN)/python scripts/docs.py

lock: .venv/dev        ## resolve the dependencies anew
	@$(BIN)/python scripts/lock.py

clean:                 ## forget what `make up` keeps
	@rm -rf .tenure

.venv/run: requirements/run.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Tenure needs Python 3.11 or newer: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing what requirements/run.lock names"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.lock .venv/run
	@echo "installing what requirements/dev.lock names"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@
