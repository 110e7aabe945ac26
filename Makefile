# The front door.  A fresh machine needs Python >= 3.11, make and a package index; each target
# sets up .venv by itself, once, and again when requirements.lock or pyproject.toml changes.
#
#   make compare            run the quickstart scenario: every backup method, side by side
#   make test               run the tests             (make test ARGS='-k chain' for a few)
#   make differential       hold both engines against each other: ten thousand histories
#   make interop            vendors' and standard clients against the served site
#   make lio                a real kernel's iSCSI target in a guest, fed from a site (5 minutes)
#   make lab                measure QEMU's block layer again and compare (ARGS=--quick: a minute)
#   make validity           hold the model against theory, measurements and publications
#   make check              what a change must pass: format, lint, types, floors, coverage
#   make bench              measure the engines         (make bench ARGS=--quick for a minute's worth)
#   make lock               pin the dependencies again (make lock LOCK=--upgrade for newer ones)
#   make clean              remove what the targets above made, but for compiled functions, which
#                           lie in ~/.cache/stuntdouble (stuntdouble doctor says where)

PYTHON ?= python3
SCENARIO ?= quickstart
JOBS ?= auto
ARGS ?=
HISTORIES ?= 10000
LOCK ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
PYTEST := pytest --numprocesses=$(JOBS) --maxprocesses=8
COVERAGE := $(BIN)/python -m coverage
STAGE := @tools/stage

# Fully tested, line and branch: everything above leans on these.
WHOLE := clock extents units ports
comma := ,
empty :=
INCLUDE := $(subst $(empty) ,$(comma),$(WHOLE:%=*/stuntdouble/%/*))

.NOTPARALLEL:
.PHONY: help setup compare test differential interop lio lab check format lint types floors coverage lock clean validity bench

help:
	@sed -n 's/^#   //p' Makefile

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("stuntdouble needs Python 3.11 or later, $(PYTHON) is %d.%d: try make PYTHON=python3.12" % v[:2] if v < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(STAGE) 'set up' $(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

compare: $(READY)
	@$(BIN)/stuntdouble compare $(SCENARIO) $(ARGS)

test: $(READY)
	@$(BIN)/python -m $(PYTEST) $(ARGS)

differential: $(READY)
	@DIFFERENTIAL=$(HISTORIES) $(BIN)/python -m pytest --quiet --capture=no \
	    --timeout=0 tests/iops/test_kernel_differential.py $(ARGS)

lab: $(READY)
	@mkdir -p reports/lab
	@$(BIN)/python -m stuntdouble.lab --json reports/lab/lab.json --html reports/lab/index.html $(ARGS)

interop: $(READY)
	$(STAGE) 'packages for interop' tools/interop-packages
	@CI=1 $(BIN)/python -m $(PYTEST) tests/interop $(ARGS)

lio: $(READY)
	$(STAGE) 'packages for the guest' tools/lio-packages
	@mkdir -p reports/lab
	@$(BIN)/python -m stuntdouble.lab.lio --json reports/lab/lio.json $(ARGS)

validity: $(READY)
	@$(BIN)/python -m stuntdouble.validity --sensitivity --json reports/baseline/validity.json \
	    --html reports/baseline/validity.html $(ARGS)

check: format lint types floors coverage

format: $(READY)
	$(STAGE) format $(BIN)/ruff format --quiet --check .

lint: $(READY)
	$(STAGE) lint $(BIN)/ruff check --quiet .

types: $(READY)
	$(STAGE) types $(BIN)/mypy

floors: $(READY)
	$(STAGE) floors $(BIN)/lint-imports --no-logo

# Coverage cannot see inside compiled functions: the tests marked `plain` run once more without
# the compiler, and the two runs are one report.  What is covered does not take the hundred thousand
# hostile requests that the tests proper send, nor the clients that sit in processes of their own.
coverage: $(READY)
	@$(COVERAGE) erase
	$(STAGE) 'tests, compiled' env FUZZ=4000 $(COVERAGE) run -m $(PYTEST) --quiet --ignore=tests/interop
	$(STAGE) 'tests, plain' env NUMBA_DISABLE_JIT=1 $(COVERAGE) run -m $(PYTEST) --quiet -m plain
	@$(COVERAGE) combine --quiet
	$(STAGE) 'coverage' $(COVERAGE) report
	$(STAGE) 'coverage, whole: $(WHOLE)' $(COVERAGE) report --include='$(INCLUDE)' --fail-under=100

# What the engines are held against comes on top, once: nothing else needs it.
$(BENCH_READY): requirements-bench.lock $(READY)
	$(STAGE) 'set up the rivals' $(PIP) install --require-hashes -r requirements-bench.lock
	@touch $@

bench: $(BENCH_READY)
	@$(BIN)/stuntdouble bench engine $(ARGS)

lock: $(READY)
	@$(PIP) install uv
	@printf 'hatchling\neditables\n' | $(BIN)/uv pip compile pyproject.toml - --all-extras --group dev \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --quiet $(LOCK) --output-file requirements.lock
	@$(BIN)/uv pip compile --group bench --constraint requirements.lock \
	    --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --quiet $(LOCK) --output-file requirements-bench.lock

clean:
	rm -rf $(VENV) out reports/lab build dist .coverage* .hypothesis .mypy_cache .pytest_cache \
	    .ruff_cache .import_linter_cache
