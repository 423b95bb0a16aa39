# One command per task. Python tools live in $(VENV), which `make build` makes and brings up to date.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
C_FILES := $(shell find csrc -name '*.c' -o -name '*.h' -o -name '*.inc')
SOURCES := pyproject.toml CMakeLists.txt README.md $(C_FILES) $(shell find src -type f -not -path '*/__pycache__/*')

.PHONY: help build test lint format docs bench demo wheel wheels test-clang test-aarch64 cross clean ci strict analyze asan tsan sanitize valgrind fuzz

help: ## say what there is
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST)

build: $(VENV)/.built ## compile the package and install it into $(VENV), with the tools of development

$(VENV)/.built: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install ".[test,dev]"
	touch $@

test: build ## run the tests on the installed package; fails where the compiled core is missing
	NNCORE_REQUIRE_NATIVE=1 $(BIN)/pytest

lint: build ## ruff, mypy, clang-format and gcc's warnings about csrc/, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	bench/instruments.sh strict-quick $(BIN)/python

format: build ## bring Python and C into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

docs: build ## build the user guide into build/docs; a warning is a failure
	$(BIN)/pip install -q $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

bench: build ## time training steps and one-row predictions; BENCH="--work digits --rounds 5" passes options
	$(BIN)/nncore bench $(BENCH)
	$(BIN)/nncore bench --latency

demo: build ## train on the handwritten digits
	$(BIN)/nncore demo

wheel: ## build a wheel into dist/
	$(PYTHON) -m pip wheel --no-deps --wheel-dir dist .

strict: ## every warning of gcc and, where it is installed, clang about csrc/ is an error
	for preset in strict-gcc strict-pthreads $$(command -v clang >/dev/null && echo strict-clang); do \
	    bench/instruments.sh $$preset || exit 1; done

analyze: ## gcc -fanalyzer and clang-tidy over csrc/; any finding is a failure
	bench/instruments.sh analyzer
	bench/instruments.sh tidy

asan: build ## the tests of kernels, training and files under AddressSanitizer and UBSan; TESTS= takes others
	bench/instruments.sh asan $(BIN)/python $(TESTS)

tsan: build ## the tests of training under ThreadSanitizer; TESTS= takes others
	bench/instruments.sh tsan $(BIN)/python $(TESTS)

sanitize: asan tsan ## both

valgrind: build ## a short training under valgrind
	bench/instruments.sh valgrind $(BIN)/python

fuzz: build ## random files, labels, indices and configurations; FUZZ="--minutes 10 --target files" passes options
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

wheels: ## sdist and manylinux wheel into dist/, each looked into, the wheel tested in an environment outside the tree
	PYTHON=$(PYTHON) tools/wheels.sh

test-clang: ## build with clang into an environment of its own, build/clang, and run the tests there
	$(PYTHON) -m venv build/clang
	CC=clang build/clang/bin/pip install -q ".[test]"
	build/clang/bin/nncore info | grep 'compiler.*clang'
	NNCORE_REQUIRE_NATIVE=1 build/clang/bin/pytest

test-aarch64: ## cross-compile the core for aarch64 and run its tests under qemu
	tools/aarch64.sh

cross: ## compile csrc/ for Windows and macOS with zig's clang; under wine, where it is installed, the former runs
	tools/cross.sh

clean: ## remove what was built
	rm -rf build dist docs/_generated $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find src tests bench docs examples -name __pycache__ -type d -exec rm -rf {} +

ci: ## all that must hold before a change is merged, in a fresh copy
	.ci/run
