# Two commands matter on a fresh machine: `make run` and `make test`. Every target sets .venv up by itself, once.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help run test test-slow verify ui lint lock bench clean

help:
	@echo "make run        the main job on the storefront, offline, then the leaderboard"
	@echo "make test       all tests (up to 25 minutes on 2 cores)"
	@echo "make test-slow  named checks on real data (WEFT_TEST_DATA names the folder)"
	@echo "make verify     multi-seed and large-data measurements, kept under benchmarks/results"
	@echo "make ui         the Dagster web UI and its daemon on storage/"
	@echo "make lint       ruff, mypy and the import contracts"
	@echo "make bench      speed against the public libraries, each in an environment of its own"
	@echo "make lock       resolve requirements.lock anew"

.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "weft needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

.venv: .venv/.installed

run: .venv/.installed
	$(BIN)/weft run

test: .venv/.installed
	$(PYTEST) -n 2 --dist loadfile -m "not slow and not verify"

test-slow: .venv/.installed
	$(PYTEST) -m slow

verify: .venv/.installed
	$(BIN)/python -m benchmarks.verify

ui: .venv/.installed
	$(BIN)/weft ui

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed
	$(BIN)/python -m benchmarks.sasrec_speed
	$(BIN)/python -m benchmarks.ingest_speed
	$(BIN)/python -m benchmarks.session_speed

lock: .venv/.installed
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra s3 --universal --generate-hashes \
	  --no-header --no-emit-index-url --quiet --output-file requirements.lock

clean:
	rm -rf .venv
