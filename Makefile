# One command each; every target does its own set-up in .venv and a second run reuses it.
#
#   make demo    compress real embeddings, search them in Qdrant's engine at three k
#   make test    every check that CI runs
#   make lint    the static checks alone        make format   rewrite files as ruff wants them
#   make bench   the benchmarks, each printing ratios from one run (minutes)
#   make faults  jobs killed, disturbed, misled and written past, 50 and 1,000 times (half an hour)
#   make answers the same 15,000 real codes in every store, compared rank by rank (minutes)
#   make milvus-core   the adapter of Milvus on its C++ core, in an environment of its own (minutes)
#   make docs    the site, into site/           make clean    forget .venv, caches and builds

PYTHON ?= python3
PYTEST_FLAGS ?= -n 2 --dist loadfile
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --quiet --constraint constraints.txt
SOURCES := $(shell find src examples/data -not -path '*__pycache__*' 2>/dev/null)
ADAPTERS := $(patsubst %/pyproject.toml,%,$(wildcard adapters/*/pyproject.toml))
CHECKED := src $(addsuffix /src,$(ADAPTERS))

.PHONY: demo test lint format bench faults answers milvus-core docs clean
.NOTPARALLEL:  # one pip at a time in one environment

demo: .venv/.demo .venv/.installed
	$(BIN)/csrkit demo --data examples/data

# The doctests of the installed package, then tests/ (README, docs and examples are run from there).
# One thread per worker: two workers that each start two threads only get in each other's way.
# The tests of the adapters start the engines that their extra `test` brings; Milvus's core has its own.
test: lint milvus-core
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_FLAGS) --doctest-modules --pyargs csrkit ./tests $(ADAPTERS:%=./%/tests)

lint: .venv/.test .venv/.installed .venv/.adapters
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports
	$(BIN)/pydoclint --quiet --config pyproject.toml $(CHECKED)

format: .venv/.test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.bench .venv/.test .venv/.installed .venv/.adapters
	@set -e; for script in examples/benchmarks/[a-z]*.py adapters/*/benchmark.py; do echo "== $$script"; $(BIN)/python $$script; done

faults: .venv/.test .venv/.installed
	CSRKIT_FAULTS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal tests/faults

answers: .venv/.test .venv/.installed .venv/.adapters
	CSRKIT_EMBEDDINGS=examples/data OMP_NUM_THREADS=1 $(BIN)/pytest tests/contract/test_same_answers.py

# The release of Milvus Lite that wraps the core; its pins are not those of constraints.txt.
milvus-core: .venv/milvus-core/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=src:adapters/milvus/src .venv/milvus-core/bin/pytest -W ignore::DeprecationWarning \
	    adapters/milvus/tests/test_contract.py adapters/milvus/tests/test_store.py -k "TestMilvusStore or drop_ratio or another"

docs: .venv/.docs .venv/.installed
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up: one stamp per set of extras; hatchling first, so that building needs no network later --

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "csrkit needs Python 3.11 or newer, $(PYTHON) is " + sys.version)'
	$(PYTHON) -m venv .venv
	touch $@

.venv/milvus-core/.installed: .venv/.created
	$(PYTHON) -m venv .venv/milvus-core
	.venv/milvus-core/bin/pip install --quiet --quiet milvus-lite==2.5.1 pymilvus==2.5.18 "setuptools<80" \
	    numpy scipy safetensors pydantic pytest==9.2.0 pytest-timeout==2.4.0
	touch $@

.venv/.build: .venv/.created pyproject.toml constraints.txt
	$(INSTALL) hatchling
	touch $@

.venv/.demo: EXTRAS = train,edge
.venv/.test: EXTRAS = train,edge,parquet,hub,report,llm,dev
.venv/.bench: EXTRAS = train,edge,bench
.venv/.docs: EXTRAS = docs
.venv/.test: PROJECTS = $(ADAPTERS:%="./%[test]")
.venv/.test: $(ADAPTERS:%=%/pyproject.toml)
.venv/.demo .venv/.test .venv/.bench .venv/.docs: .venv/.build
	$(INSTALL) --no-build-isolation ".[$(EXTRAS)]" $(PROJECTS)
	touch $@

# Not editable: what is tested and shown is the package as a user gets it.
.venv/.installed: $(SOURCES) .venv/.build
	$(INSTALL) --no-build-isolation --no-deps --force-reinstall .
	touch $@

.venv/.adapters: $(shell find $(ADAPTERS:%=%/src) -name '*.py' 2>/dev/null) .venv/.test .venv/.installed
	$(INSTALL) --no-build-isolation --no-deps --force-reinstall $(ADAPTERS:%=./%)
	touch $@
