# E2M: `make book` regenerates everything, `make test` tests everything; both create .venv first.
PROFILE ?= demo
PYTHON  ?= python3
WORKFLOW ?= profiles/local
BIN     := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
UV      := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
SNAKEMAKE = $(BIN)/snakemake --workflow-profile $(WORKFLOW) $(if $(CORES),--cores $(CORES)) --config profile=$(PROFILE)

.DEFAULT_GOAL := help
.PHONY: help book test test-fast smoke study studied bench lint format lab lock plan clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

book: .venv/done  ## make everything, from the data to the book: _build/html/index.html [PROFILE=demo]
	$(SNAKEMAKE)

test: .venv/done lint  ## run all tests, with the smoke profile from data to book
	$(BIN)/pytest

test-fast: .venv/done  ## run the tests that take seconds
	$(BIN)/pytest -m "not slow"

smoke: .venv/done  ## make the book with the smallest profile
	$(MAKE) book PROFILE=smoke

study: .venv/done  ## run the studies that take too long for the book: data/studies/
	$(MAKE) studied PROFILE=demo TARGETS="study masking_study alpha_study coverage_study" FIRST="--prioritize masking_study"
	$(MAKE) studied PROFILE=planted
	$(BIN)/python -m studies.guidance

studied: .venv/done
	$(SNAKEMAKE) $(FIRST) -- $(or $(TARGETS),study)

bench: .venv-bench/done  ## time maps and measures beside other packages: data/studies/ [QUICK=--quick]
	.venv-bench/bin/python -m benchmarks.speed $(QUICK)

lint: .venv/done  ## check the style and the layers of e2m/
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: .venv/done  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lab: .venv/done  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

plan: .venv/done  ## show what `make book` would run, without running it [PROFILE=paper]
	$(SNAKEMAKE) --dry-run

COMPILE = $(UV) pip compile pyproject.toml --extra companion --python $(BIN)/python --generate-hashes --universal \
		--no-emit-index-url --no-header --quiet

lock: .venv/uv  ## pin every package, with hashes and without addresses
	$(COMPILE) --group dev --output-file requirements.lock
	$(COMPILE) --group bench --constraint requirements.lock --output-file requirements-bench.lock

clean:  ## remove everything derived, except the environment
	rm -rf _build book/executed results data/demo data/planted .snakemake

.venv/uv:
	$(PYTHON) -m venv .venv
	command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv
	touch $@

.venv-bench/done: requirements-bench.lock pyproject.toml | .venv/uv
	test -x .venv-bench/bin/python || $(UV) venv --quiet --python $(BIN)/python .venv-bench
	$(UV) pip sync --python .venv-bench/bin/python --require-hashes --compile-bytecode requirements-bench.lock
	$(UV) pip install --python .venv-bench/bin/python --no-deps --no-build-isolation --quiet --editable .
	touch $@

.venv/done: requirements.lock pyproject.toml | .venv/uv
	$(UV) pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --quiet --editable .
	touch $@
