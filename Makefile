# E2M: `make book` regenerates everything, `make test` tests everything; both create .venv first.
PROFILE ?= demo
PYTHON  ?= python3
WORKFLOW ?= profiles/local
BIN     := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
UV      := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)

SNAKEMAKE = $(BIN)/python workflow/run.py --workflow-profile $(WORKFLOW) $(if $(CORES),--cores $(CORES))
# Side by side, a process a core, and each file in one process: what its tests share is made once.
PYTEST    = $(BIN)/pytest --numprocesses $(or $(CORES),logical) --dist loadfile --no-loadscope-reorder

# What a person's settings would change: pip installs into .venv, and Snakemake runs as WORKFLOW says.
export PIP_USER := 0
unexport SNAKEMAKE_PROFILE PYTHONHOME
# An account in a container may have no name and no HOME to write to; caches of tools then lie in .venv.
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.venv/home
endif
export LOGNAME ?= e2m

# An environment belongs to its folder, whose path it holds: a copy, or a folder that was moved or renamed, makes its own.
belongs = test -x $(1)/bin/python && cat $(1)/done 2>/dev/null
ifneq ($(shell $(call belongs,.venv)),$(CURDIR))
.PHONY: .venv/done .venv/uv
endif
ifneq ($(shell $(call belongs,.venv-bench)),$(CURDIR))
.PHONY: .venv-bench/done .venv-bench/bin
endif
# The name of a profile is text to make, as it is to the shell, which sees it in the environment alone.
override PROFILE := $(value PROFILE)
export E2M_PROFILE := $(value PROFILE)

.DEFAULT_GOAL := help
.PHONY: help book verify agree pdf inspect test test-fast fuzz faults smoke study studied bench bench-gpu lint schemas hooks format lab lock audit-deps archive plan clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

book: .venv/done  ## make everything, from the data to the book: _build/html/index.html [PROFILE=demo]
	$(SNAKEMAKE)

test: .venv/done lint  ## run all tests, with the smoke profile from data to book
	$(PYTEST)

test-fast: .venv/done  ## run the tests that take seconds
	$(PYTEST) -m "not slow"

verify: .venv/done  ## compute every figure, table and number of the book again, and compare [PAGES="noise entropy"]
	$(BIN)/e2m verify $(PAGES)

agree: .venv/done  ## list what pages, numbers and tables of the built book do not agree on
	$(BIN)/python -m tests.consistency

pdf: .venv/done  ## the whole book as one file, through Chromium: _build/e2m.pdf
	$(BIN)/jupyter-book build book --builder singlehtml --all -n --keep-going --quiet
	$(BIN)/python -m benchmarks.pages --pdf _build/singlehtml/index.html _build/e2m.pdf

inspect: .venv/done  ## what a browser finds on every page of the book: _build/inspection.json
	$(BIN)/python -m benchmarks.pages

fuzz: .venv/done  ## damage the input of every reader by chance, anew, for some minutes; failures stay in tests/fuzz/examples
	E2M_FUZZ=$(or $(E2M_FUZZ),2000) $(BIN)/pytest tests/fuzz

FAULTS = $(wildcard tests/faults tests/bad_input) tests/store/test_seals.py

faults: .venv/done  ## try faults and bad input, and write their report: data/studies/
	$(PYTEST) $(FAULTS) -m "faults or not faults" --junitxml=results/faults.xml; status=$$?; \
		$(BIN)/python -m studies.reliability results/faults.xml && exit $$status

smoke: .venv/done  ## make the book with the smallest profile
	$(MAKE) book PROFILE=smoke

study: .venv/done  ## run the studies that take too long for the book: data/studies/
	$(MAKE) studied PROFILE=demo TARGETS="study masking_study alpha_study methods_study coverage_study pilot_study" FIRST="--prioritize masking_study"
	$(MAKE) studied PROFILE=planted
	$(BIN)/python -m studies.guidance

studied: .venv/done
	$(SNAKEMAKE) $(FIRST) -- $(or $(TARGETS),study)

bench: .venv-bench/done  ## time maps and measures beside other packages: data/studies/ [QUICK=--quick or "--only steps"]
	.venv-bench/bin/python -m benchmarks.speed $(QUICK)

bench-gpu: .venv-bench/done  ## time maps and measures on a GPU, in less than ten minutes: data/studies/ [QUICK="--quick --device cpu"]
	.venv-bench/bin/python -m benchmarks.gpu $(QUICK)

lint: .venv/done schemas  ## check style, spelling, layers of e2m/, workflow files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/codespell

# Against the schemas that check-jsonschema brings; nothing is downloaded.
SCHEMA = $(BIN)/check-jsonschema --quiet --builtin-schema vendor
schemas: .venv/done
	$(SCHEMA).github-workflows .github/workflows/*.yml
	$(SCHEMA).github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(SCHEMA).github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA).citation-file-format CITATION.cff
	$(BIN)/pre-commit validate-config

hooks: .venv/done  ## check every commit before it is made
	$(BIN)/pre-commit install

format: .venv/done  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lab: .venv/done  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

plan: .venv/done  ## show what `make book` would run, without running it [PROFILE=paper]
	$(SNAKEMAKE) --dry-run

COMPILE = $(UV) pip compile pyproject.toml --extra companion --python $(BIN)/python --generate-hashes --universal \
		--no-emit-index-url --no-header --quiet

lock: .venv/uv  ## pin every package, with hashes and without addresses
	$(COMPILE) --group dev --output-file requirements.lock
	$(COMPILE) --group bench --constraint requirements.lock --output-file requirements-bench.lock

audit-deps: .venv/done  ## report known vulnerabilities and licences of the locked packages
	$(BIN)/python -m release.dependencies

archive: .venv/done  ## pack the finished book with its tables and a bill of materials: _build/release/ [PROFILE=demo]
	$(BIN)/python -m release.archive $(PROFILE)

clean:  ## remove everything derived, except the environment
	rm -rf _build book/executed results data/demo data/planted .snakemake

.venv/uv:
	rm -rf .venv
	$(PYTHON) -m venv .venv
	command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv
	touch $@

.venv/done: requirements.lock pyproject.toml | .venv/uv
	$(UV) pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --quiet --editable .
	pwd -P >$@

.venv-bench/bin: | .venv/uv
	rm -rf .venv-bench
	$(UV) venv --quiet --python $(BIN)/python .venv-bench

.venv-bench/done: requirements-bench.lock pyproject.toml | .venv-bench/bin
	$(UV) pip sync --python .venv-bench/bin/python --require-hashes --compile-bytecode requirements-bench.lock
	$(UV) pip install --python .venv-bench/bin/python --no-deps --no-build-isolation --quiet --editable .
	pwd -P >$@
