# One command for each thing; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOG := $(VENV)/setup.log

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup check lint test bench profile faults fuzz demo up down

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## .venv with everything, from requirements.lock
	@:

# Once for each lock. Silent, unless a step fails: then all it said is shown.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; choose one with: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setting up $(VENV): a minute or two, once"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "$(PYTHON) makes no virtual environments here; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r requirements.lock \
	  && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .; } >$(LOG) 2>&1 \
	  || { cat $(LOG) >&2; exit 1; }
	@touch $@

check: lint ## lint, types and the quick tests, which need no servers; about a minute
	@$(BIN)/python -m pytest -q --quick

lint: $(READY) ## style and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

test: $(READY) ## everything; starts its own servers, and says at the end what was skipped
	@$(BIN)/python -m pytest

bench: $(READY) ## measurements, held against their bounds; ONLY=name asks one question
	@$(BIN)/python tests/bench/run.py $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick)

profile: $(READY) ## flame graphs of a flight, by py-spy; ROWS=n
	@$(BIN)/python tests/bench/flame.py $(if $(ROWS),--rows $(ROWS))

faults: $(READY) ## kill, freeze and cut everything there is, and count what got lost; ONLY=name SEEDS=n SEED=n FRESH=1 FULL=1
	@$(BIN)/python -m tests.faults.run $(if $(ONLY),--only "$(ONLY)") $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(SEED),--seed $(SEED)) \
	  $(if $(SCALE),--scale $(SCALE)) $(if $(FRESH),--fresh) $(if $(PLAIN),--plain) $(if $(FULL),--full)

fuzz: $(READY) ## the SQL guard and the row filters against statements by chance; ONLY=guard|filters|mysql SEED=n SECONDS=n
	@$(BIN)/python -m tests.fuzz.run $(if $(ONLY),--only "$(ONLY)") $(if $(SEED),--seed $(SEED)) \
	  $(if $(SECONDS),--seconds $(SECONDS))

demo: $(READY) ## the main job from end to end, on servers and sources of its own
	@$(BIN)/python -m hive demo

up: $(READY) ## start the hive and leave it running
	@$(BIN)/hive up --detach

down: $(READY) ## stop the hive
	@$(BIN)/hive down
