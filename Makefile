# make demo: the whole workflow on a generated cohort. make test: the tests. make check: style, types, workflow.
# Each target sets up what it needs in .venv; nothing has to be installed before except Python 3.11 to 3.13.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := $(abspath $(VENV))/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO_DATA := demo/input

.PHONY: demo test test-slow check schema gene-names lock clean

demo: $(VENV)/.demo
	$(BIN)/python -m tests.synthetic --out $(DEMO_DATA)
	$(BIN)/python -m tests.demo_encoder --out $(DEMO_DATA)/tf_efficientnet_lite0.safetensors
	PATH="$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml --directory demo --set-threads train=1 evaluate=1
	@echo "Open demo/results/report/index.html"

# One thread each: tensors of tests are small, and sums are in one order on every machine.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow"

# Where py-rattler cannot be installed, the tests of --use-conda are skipped and say so.
test-slow: $(VENV)/.dev
	$(INSTALL) --editable '.[conda-test]' || echo "py-rattler could not be installed: --use-conda is not exercised" >&2
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(BIN):$$PATH" $(BIN)/snakemake --lint --configfile config/demo.yaml

# The schema that Snakemake validates against and the tables of config/README.md, from the config models.
schema: $(VENV)/.dev
	$(BIN)/python -m tta_pipeline.manual

# The table of gene names that is shipped, from HGNC's hgnc_complete_set.txt as it was downloaded on DATE (YYYY-MM-DD).
gene-names: $(VENV)/.dev
	$(BIN)/python -m tta_pipeline.io.hgnc --file $(FILE) --date $(DATE)

# Exact versions for pip users, see docs/environments.md. Versions that still fit are kept: UPGRADE=--upgrade renews all.
lock: | $(VENV)/bin/python
	$(INSTALL) 'uv>=0.9.9'
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --generate-hashes $(UPGRADE) \
	  --extra parquet --extra slurm --extra stain --constraint constraints.txt \
	  --no-emit-package torch --no-emit-package torchvision \
	  --custom-compile-command 'make lock' --output-file requirements.lock

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[dev]'
	touch $@ $(VENV)/.demo

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf demo results logs .snakemake
