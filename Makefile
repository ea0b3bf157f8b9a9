# What a newcomer types: `make run` to see what each method forgets, `make test` to check it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed$(TORCH:%=-%)
DOCS := $(VENV)/.docs
OUT ?= runs

# Data: CL_BENCH_DATA where it is set, else a folder beside the checkout, else what the suite finds.
DATA := $(or $(CL_BENCH_DATA),$(wildcard ../shared/data))
ifneq ($(DATA),)
export CL_BENCH_DATA := $(abspath $(DATA))
endif

# One thread a process: two on one core get in each other's way and take many times longer.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

# TORCH=cpu: PyTorch's builds without CUDA, whose versions end in +cpu. They are on an index of
# PyTorch's own, or in a folder of wheels: PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS names it to pip.
# On a Mac the usual build has no CUDA, and this changes nothing.
ifeq ($(TORCH)-$(shell uname -s),cpu-Linux)
CPU_TORCH := $(shell sed -n -E 's/^(torch|torchvision)==.*/&+cpu/p' constraints.txt)
NO_CPU_TORCH := pip finds no CPU build of PyTorch; say where it is with PIP_EXTRA_INDEX_URL=...
else ifneq ($(filter-out cpu,$(TORCH)),)
$(error TORCH=$(TORCH): the only choice is TORCH=cpu; leave it out for the usual build)
endif

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all lint docs bench clean

help:
	@echo 'make setup     install everything, pinned, in $(VENV) (TORCH=cpu: without CUDA)'
	@echo 'make run       train naive, ewc, flatness and joint on permuted MNIST and compare them'
	@echo 'make test      lint, check types, run the tests but the slow ones'
	@echo 'make test-all  the same with the slow ones'
	@echo 'make lint      lint and check types only'
	@echo 'make docs      build these pages as a site, in site/'
	@echo 'make bench     measure the rate against Avalanche'
	@echo 'make clean     remove what was built (not runs/)'

setup: $(STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'error: Python 3.11 or later is needed; make setup PYTHON=python3.12'; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
ifdef CPU_TORCH
	$(BIN)/python -m pip install --quiet -c constraints.txt $(CPU_TORCH) \
	  || { echo 'error: $(NO_CPU_TORCH)'; exit 2; }
endif
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@ $(VENV)/.installed

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[docs]'
	touch $@

run: $(STAMP)
	$(BIN)/python -m cl_bench run --strategy naive,ewc,flatness,joint --out $(OUT)

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

docs: $(DOCS)
	$(BIN)/python -m docs.build

bench: $(STAMP)
	$(ONE_THREAD) $(BIN)/python -m cl_bench bench

clean:
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
