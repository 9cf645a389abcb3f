# Everything runs in a virtual environment of its own; `make` lists what there is.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# Where torch comes from, for instance the index of builds without CUDA that its install page names; pip's own if empty.
TORCH_INDEX ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# Stamps: written once an installation is whole, and out of date when what it was made from changes.
CORE := $(VENV)/.core-installed
SPEECH := $(VENV)/.speech-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed

.DEFAULT_GOAL := help
.PHONY: help demo demo-speech test check lint types layers docs bench bench-smoke bench-ablation bench-uncertainty bench-speed bench-encoding bench-onnx bench-render format clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(CORE) ## compare classifiers on real data, save pictures in demo-output/
	$(BIN)/gendiffclf demo

demo-speech: $(SPEECH) ## tell synthesised vowels and genders of unheard voices
	$(BIN)/gendiffclf demo-speech

# Tests are small: one thread each, and several of them at once, beats many threads for one.
test: $(DEV) ## run the tests and the examples in docstrings
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -q

check: lint types layers test bench-smoke docs ## all that a change must pass

lint: $(DEV) ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## type hints
	$(BIN)/mypy

layers: $(DEV) ## who imports whom
	$(BIN)/lint-imports --no-logo

docs: $(DEV) ## build the site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(BENCH) ## run the benchmark; DATA_DIR=folder adds its tables, OUTPUT=folder takes the records
	$(BIN)/python -m benchmarks tables $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(if $(OUTPUT),--output $(OUTPUT)) --models all

bench-smoke: $(DEV) ## the benchmark's whole path, on small tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks smoke

bench-ablation: $(BENCH) ## measure what each part is worth; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks ablation $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-uncertainty: $(BENCH) ## measure what probabilities are worth; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks uncertainty $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-speed: $(BENCH) ## measure speed and memory beside peers; DATA_DIR=folder adds its tables, BASELINE=folder compares with an older checkout
	$(BIN)/python -m benchmarks speed $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(if $(BASELINE),--baseline $(BASELINE))

bench-encoding: $(DEV) ## measure how fast speech is encoded; DEVICE=cuda elsewhere than on the CPU
	$(BIN)/python -m benchmarks encoding $(if $(DEVICE),--device $(DEVICE))

bench-onnx: $(DEV) ## measure exported classifiers beside torch; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks onnx $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-render: $(DEV) ## make the pages of results, and the README's summary, from records
	$(BIN)/python -m benchmarks render --readme README.md

format: $(DEV) ## rewrite files in the project format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) site build demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Got $(PYTHON) older than 3.11, expected 3.11 or newer; use make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(INSTALL) -e '.[plots]'
	@touch $@

$(SPEECH): $(CORE)
	$(INSTALL) -e '.[speech]'
	@touch $@

$(BENCH): $(CORE)
	$(INSTALL) -e '.[bench]'
	@touch $@

$(DEV): $(CORE)
	$(INSTALL) -e '.[speech,finetune,plots,docs,dev]'
	@touch $@
