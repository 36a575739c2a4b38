# What this project's people type. Every target sets up a virtual environment of its own when it needs one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Newer than pyproject.toml and the tested versions: the environment is current.
STAMP := $(VENV)/.installed
PYTHONS ?= python3.12 python3.13

.DEFAULT_GOAL := help
.PHONY: help setup demo test pytest properties fuzz interrupt verify-cpus verify-c verify-litert litert-sizes verify-boards bench weight-bits cells pruning lint types format wheel-check python-check tflite-check docs-output clean sanitize-c

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## Make the virtual environment (VENV=.venv, PYTHON=python3)

$(STAMP): pyproject.toml constraints.txt qdeploy/tested_versions.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "qdeploy needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP) ## Export, verify and validate the shipped networks; print the table
	@$(BIN)/python -m qdeploy.demo --output build/demo

test: lint pytest ## Lint, then all tests

# All tests run in a process for each core, four at most, file by file; those that ARGS chooses run in one.
PROCESSES := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

pytest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(or $(ARGS),$(PROCESSES))

properties: $(STAMP) ## Draw the examples of the property tests anew (ARGS="tests/ops")
	$(BIN)/python -m pytest -q --hypothesis-profile=anew $(ARGS)

fuzz: $(STAMP) ## Give mutated files to everything that reads files (ARGS="--inputs 30000 --seed 0")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(ARGS)

interrupt: $(STAMP) ## kill -9 exports at random moments, and say what is left (ARGS="--kills 200 --seed 0")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.interruption $(ARGS)

verify-cpus: $(STAMP) ## Verify the shipped networks on other processors, emulated by qemu (ARGS="NAME ...")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.verify.processors --output build/processors $(ARGS)

verify-c: $(STAMP) ## Verify the shipped networks as compiled C (ARGS="NAME ...")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.verify.compiled --output build/compiled $(ARGS)

verify-litert: $(STAMP) ## Verify the shipped networks in LiteRT, with each of its kernel sets (ARGS="NAME ...")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.verify.compiled --runtime litert --output build/litert $(ARGS)

litert-sizes: $(STAMP) ## Bytes of the shipped networks' model.tflite and of its parts (ARGS="NAME ...")
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.litert_sizes $(ARGS)

rounding-rules: $(STAMP) ## Measure by which rules LiteRT's own kernels round, here and emulated (ARGS="--python OTHER/bin/python")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.rounding $(ARGS)

verify-boards: $(STAMP) ## Verify the shipped networks on every emulated board, goes on where it was stopped (ARGS="--board pi4 NAME ...")
	@$(BIN)/qdeploy board setup --quiet
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.boards.every --output build/boards $(ARGS)

sanitize-c: $(STAMP) ## Generated C of every golden bundle under sanitizers, by gcc and clang (ARGS="NAME ...")
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.export.c.sanitized $(ARGS)

bench: $(STAMP) ## Measure ratios to other implementations in one run (ARGS="--only c")
	@mkdir -p build/bench
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --output build/bench/report.json $(ARGS)

weight-bits: $(STAMP) ## Train at 3 to 8 bits of weights: the tables and the picture of docs/orthogonal_rnn.md (half an hour)
	@mkdir -p build/study
	@$(BIN)/qdeploy study weight-bits qornn-smnist -o build/study/smnist 2> build/study/smnist.log
	@$(BIN)/qdeploy study weight-bits qornn-digits --twin ornn-digits --epochs 30 -o build/study/digits 2> build/study/digits.log

cells: $(STAMP) ## Judge every recurrent network, train every cell in several sizes: tables and pictures of docs/recurrent_cells.md
	@mkdir -p build/study
	@$(BIN)/qdeploy study cells all --limit 500 -o build/study 2> build/study/cells.log
	@$(BIN)/qdeploy study sizes sequential-digits -o build/study/sizes 2> build/study/sizes.log

pruning: $(STAMP) ## Prune Lenet-300-100, real and quaternion, step by step: the tables and pictures of docs/pruning.md (an hour)
	@mkdir -p build/study
	@$(BIN)/qdeploy study pruning lenet300-mnist --epochs 8 -o build/study/pruning-mnist 2> build/study/pruning-mnist.log
	@$(BIN)/qdeploy study pruning lenet300-fashion --epochs 5 -o build/study/pruning-fashion 2> build/study/pruning-fashion.log

lint: $(STAMP) types ## ruff check, ruff format --check, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not read setuptools' mapping of the top-level folders, so the package is laid out with links. The tree is made
# anew each time: files added later are seen.
types: $(STAMP)
	rm -rf build/typed
	mkdir -p build/typed/qdeploy
	ln -s $(CURDIR)/qdeploy/* $(CURDIR)/export $(CURDIR)/models $(CURDIR)/runtime build/typed/qdeploy/
	MYPYPATH=build/typed $(BIN)/mypy -p qdeploy

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel-check: $(STAMP) ## Install the wheel in a fresh environment without torch and use it there
	VENV=$(VENV) PYTHON=$(PYTHON) scripts/wheel_check.sh

python-check: ## Run the tests that need no torch with other Pythons (PYTHONS="python3.12 python3.13")
	PYTHONS="$(PYTHONS)" scripts/python_check.sh $(ARGS)

tflite-check: ## Run the tests of .tflite files with tflite-runtime 2.14 (PYTHON=python3.11)
	PYTHON=python3.11 scripts/tflite_check.sh $(ARGS)

docs-output: $(STAMP) ## Run the commands of the documentation and write their output into its pages
	$(BIN)/python scripts/docs_output.py

clean: ## Remove what was built (not the virtual environment)
	rm -rf build
