# Everything a fresh machine with Python >= 3.11 and make needs: `make run`, `make test`.
PY   ?= python3
VENV := .venv
BIN  := $(VENV)/bin
LOCKS := requirements/bootstrap.txt requirements/dev.txt

.DEFAULT_GOAL := help
.PHONY: help setup run demo test test-fast test-agents soak fuzz lint fmt bench bench-scale verify clean lock generate

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/.ok ## make the virtual environment, every package checked by hash

# uv is quick; where it cannot reach the registry (a proxy with certificates of its own), pip can.
$(VENV)/.ok: $(LOCKS) pyproject.toml
	@test -x $(BIN)/python || $(PY) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes $(LOCKS) \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## start Pandar with its own Postgres and NATS; Ctrl-C stops it
	@exec $(BIN)/pandar up

demo: setup ## see a task, its gate, its link and its approval in a minute, without any key
	@exec $(BIN)/pandar demo

# A worker that crashes ends the run and is named: replaced, its group would be waited for for ever.
test: setup ## every test, on servers and ports of its own
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart 0 tests

test-fast: setup ## the tests that need no server
	@$(BIN)/python -m pytest -m "not servers and not fault" tests

test-agents: setup ## the real agents against a scripted model server; needs npm, says so without
	@$(BIN)/python -m tests.agents

SOAK_MIN ?= 10
soak: setup ## random faults under load, with fresh seeds, for SOAK_MIN minutes
	@SOAK_MIN=$(SOAK_MIN) $(BIN)/python -m tests.support.chaos_soak

FUZZ_SEC ?= 60
fuzz: .fuzz/.ok ## random texts that follow the code they reach, FUZZ_SEC seconds for each target
	@set -e; for target in tests/fuzz/fuzz_*.py; do \
		echo "$$target"; PYTHONPATH=. .fuzz/bin/python $$target -max_total_time=$(FUZZ_SEC) \
			-max_len=2000 -timeout=10 -artifact_prefix=.fuzz/; \
	done

.fuzz/.ok: $(VENV)/.ok requirements/fuzz.txt
	@test -x .fuzz/bin/python || $(PY) -m venv .fuzz
	@$(BIN)/uv pip sync -q --python .fuzz/bin/python --require-hashes requirements/dev.txt requirements/fuzz.txt \
		|| .fuzz/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/fuzz.txt
	@touch $@

lint: setup ## layers, style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

fmt: setup ## put the code into shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## measure; ratios within one run
	@$(BIN)/python -m bench

bench-scale: setup ## measure ten million events against ten thousand: half an hour, 30 GiB of disk
	@$(BIN)/python -m bench.scale_log

generate: setup ## write what is made from the code: schemas, schema.sql, tables of the docs
	@$(BIN)/python -m tests.generate

verify: setup ## fail when anything generated differs from what the code says
	@$(BIN)/python -m tests.generate --check

clean: ## remove the virtual environment and caches; data is left alone
	rm -rf $(VENV) .bench-peers .fuzz .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: setup ## write the lock files anew from pyproject.toml; they name no registry
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --no-config --universal --generate-hashes --python-version 3.11 requirements/bootstrap.in -o requirements/bootstrap.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --no-config --universal --generate-hashes --python-version 3.11 --extra embedded --extra apprise --group dev pyproject.toml -o requirements/dev.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --no-config --universal --generate-hashes --python-version 3.11 requirements/peers.in -o requirements/peers.txt
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile -q --no-config --universal --generate-hashes --python-version 3.11 requirements/fuzz.in -o requirements/fuzz.txt
	! grep -nE '://|^--(index|extra|find)' requirements/*.txt
