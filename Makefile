# What a newcomer types: `make run` to see what each method forgets, `make test` to check all of it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= runs

# Data: CL_BENCH_DATA where it is set, else a folder beside the checkout, else what the suite finds.
DATA := $(or $(CL_BENCH_DATA),$(wildcard ../shared/data))
ifneq ($(DATA),)
export CL_BENCH_DATA := $(abspath $(DATA))
endif

# One thread a process: two on one core get in each other's way and take many times longer.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup run test lint bench clean

help:
	@echo 'make setup  install everything, pinned, in $(VENV)'
	@echo 'make run    train naive, ewc, flatness and joint on permuted MNIST and compare them'
	@echo 'make test   lint, check types, run the tests'
	@echo 'make lint   lint and check types only'
	@echo 'make bench  measure the rate against Avalanche'
	@echo 'make clean  remove what was built (not runs/)'

setup: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'error: Python 3.11 or later is needed; make setup PYTHON=python3.12'; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@

run: $(STAMP)
	$(BIN)/python -m cl_bench run --strategy naive,ewc,flatness,joint --out $(OUT)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

bench: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m cl_bench bench

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
