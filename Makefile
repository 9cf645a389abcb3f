# Everything runs in a virtual environment of its own; `make` lists what there is.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# Where torch comes from, for instance the index of builds without CUDA that its install page names; pip's own if empty.
TORCH_INDEX ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile -c constraints.txt
# With all cores, unlike pip; files that are no Python 3, such as templates, are left out.
COMPILE := $(BIN)/python -W ignore -m compileall -qq -j 0 -x 'site-packages/.*/tests/' $(VENV)/lib || true
PINS ?= constraints.txt
PACKAGE := build/package/bin/python -m pip --disable-pip-version-check install --quiet -c $(PINS)
# Stamps: written once an installation is whole, and out of date when what it was made from changes.
CORE := $(VENV)/.core-installed
SPEECH := $(VENV)/.speech-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed

.DEFAULT_GOAL := help
.PHONY: help demo demo-speech test test-gpu check quick lint types layers docs bench bench-ablation bench-uncertainty bench-speed bench-encoding bench-gpu bench-onnx bench-missing bench-labels bench-render format pictures package clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(CORE) ## compare classifiers on three tables, report in demo-output/
	$(BIN)/gendiffclf demo

demo-speech: $(SPEECH) ## classify vowels and gender of synthesised voices
	$(BIN)/gendiffclf demo-speech

# Tests are small: one thread each, and several of them at once, beats many threads for one.
test: $(DEV) ## run the tests and the examples in docstrings
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

test-gpu: $(DEV) ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -q -m cuda tests/gpu

check: quick test ## all checks that a change must pass

quick: $(DEV) ## all checks but the tests, several at once
	$(MAKE) --no-print-directory -j $(WORKERS) lint types layers docs

lint: $(DEV) ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## type hints
	$(BIN)/mypy

layers: $(DEV) ## import layers
	$(BIN)/lint-imports --no-logo

# Not --quiet, which hides warnings from --strict.
docs: $(DEV) ## build the site in site/, its examples included
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(BENCH) ## run the benchmark; DATA_DIR=folder adds its tables, OUTPUT=folder takes the records
	$(BIN)/python -m benchmarks tables $(if $(DATA_DIR),--data-dir $(DATA_DIR)) $(if $(OUTPUT),--output $(OUTPUT)) --models all

bench-ablation: $(BENCH) ## ablation study; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks ablation $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-uncertainty: $(BENCH) ## calibration and uncertainty; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks uncertainty $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-speed: $(BENCH) ## measure speed and memory beside peers
	$(BIN)/python -m benchmarks speed

bench-encoding: $(DEV) ## measure how fast speech is encoded; DEVICE=cuda elsewhere than on the CPU
	$(BIN)/python -m benchmarks encoding $(if $(DEVICE),--device $(DEVICE))

bench-gpu: $(BENCH) $(SPEECH) ## measure a CUDA device: the paper's recipe, classifiers and encoding beside peers
	$(BIN)/python -m benchmarks gpu --limit 20
	$(BIN)/python -m benchmarks encoding --device cuda --size large --n-clips 128 --rounds 3 --output benchmarks/results/gpu/encoding.json

bench-onnx: $(DEV) ## measure exported classifiers beside torch; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks onnx $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-missing: $(BENCH) ## measure missing values beside peers; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks missing $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-labels: $(DEV) ## measure votes, suspect labels and prediction sets; DATA_DIR=folder adds its tables
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks labels $(if $(DATA_DIR),--data-dir $(DATA_DIR))

bench-render: $(DEV) ## make the pages of results, and the README's summary, from records
	$(BIN)/python -m benchmarks render --readme README.md

format: $(DEV) ## rewrite files in the project format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

pictures: $(DEV) ## make the picture in the README
	OMP_NUM_THREADS=1 $(BIN)/python docs/gallery.py exact_path docs/img/transport.svg

package: $(DEV) ## build sdist and wheel, try the wheel in an empty environment; PINS=constraints-minimum.txt with the oldest releases
	rm -rf dist build/lib build/bdist* build/package
	$(BIN)/python -m build --quiet
	$(PYTHON) -m venv build/package
	$(PACKAGE) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PACKAGE) dist/*.whl
	cd build && OMP_NUM_THREADS=1 package/bin/python -I ../tests/smoke.py

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) site build dist demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Got $(PYTHON) older than 3.11, expected 3.11 or newer; use make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(INSTALL) -e '.[demo]'
	@$(COMPILE)
	@touch $@

$(SPEECH): $(CORE)
	$(INSTALL) -e '.[speech]'
	@$(COMPILE)
	@touch $@

$(BENCH): $(CORE)
	$(INSTALL) -e '.[bench]'
	@$(COMPILE)
	@touch $@

$(DEV): $(CORE)
	$(INSTALL) -e '.[speech,finetune,demo,docs,dev]'
	@$(COMPILE)
	@touch $@
