# `.ci/run` calls most targets. Tools are called by path, so .venv need not be activated.
PYTHON ?= python3
BIN := .venv/bin

# The package to install into .venv: by default the checkout, editable; `.ci/run` passes its wheel.
# Without isolation, the build uses the tools in .venv; with it, each build would compile everything again.
INSTALL ?= --no-build-isolation --editable .[all]

# The size of each corpus: 1 is the full size; a small fraction only checks that the benches run.
SCALE ?= 1
ROUNDS := $(if $(filter 1,$(SCALE)),3,1)
SECONDS ?= 600

# The test files with these names, each in the folder of its subject.
tests = $(foreach name,$1,$(or $(wildcard tests/*/test_$(name).py),$(error There is no tests/*/test_$(name).py)))

# The first seed of the random tests. `make soak` stops at a failed test, and the next call continues with that test.
SEED ?= 0
RANDOM_TESTS := $(call tests,bad_input cache cancel clouds_end_to_end clouds_network commit_in_doubt concurrent crash flips gc gcs_resumable interrupted interrupted_lists leases lifecycle memo ownership projects remote_upkeep removing replacing round_trips s3_end_to_end s3_long states storage_links upload uploading verify watched)

# Tests that also run with PgBouncer before PostgreSQL. Others can be run by hand: `POOLED=1 pytest -k postgresql`.
POOLED_TESTS := $(call tests,concurrent engine leases many membership migrations query)

# Tests of storage on S3. `make soak` also runs them on Ceph, from Debian's packages, and on rclone.
S3_TESTS := $(call tests,cloud lifecycle remote_probe remote_upkeep s3_differences s3_end_to_end s3_faults s3_multipart s3_route s3_store)

RUST := $(shell find rust -name '*.rs') Cargo.toml

# Files of tests run side by side, one on each core. Each process starts its own servers, so there are at most four.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile

# The test files for `make compat`; empty for all.
TESTS ?=

.PHONY: run test docs lint format types bench soak compat wheel clean

run: export PYTHONDONTWRITEBYTECODE = 1
run: .venv/installed
	$(BIN)/inhaul ingest --exclude site-packages "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
	$(BIN)/python examples/stdlib.py

test: .venv/installed
	cargo test --quiet
	$(BIN)/pytest $(SIDE_BY_SIDE)
	POOLED=1 $(BIN)/pytest -q -k postgresql $(POOLED_TESTS)

docs: .venv/installed
	$(BIN)/python tools/api_table.py docs/reference/page.md
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build/html

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	cargo fmt --check
	cargo clippy --quiet --all-targets --all-features -- -D warnings

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	cargo fmt

types: .venv/installed
	$(BIN)/mypy
	$(BIN)/stubtest --mypy-config-file pyproject.toml inhaul._core inhaul.sync
	$(BIN)/python tools/sync_stub.py --check

bench: .venv/installed
	cargo build --quiet --release --examples
	$(BIN)/python benches/bench_ingest.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_again.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_hash.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_slow.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_s3.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_clouds.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_annotation.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_backed.py --scale $(SCALE)
	$(BIN)/python benches/bench_wide.py --scale $(SCALE) --rounds $(ROUNDS)
	$(BIN)/python benches/bench_start.py --rounds $(ROUNDS)
	$(BIN)/pytest -q benches/bench_end_to_end.py --scale $(SCALE)
	cargo bench --quiet --bench hash -- $(if $(filter 1,$(SCALE)),,--test)
	$(if $(filter 1,$(SCALE)),cargo bench --quiet --bench md5_lanes)

soak: .venv/installed
	SOAK=$(SEED) $(BIN)/pytest --stepwise --timeout 3600 $(RANDOM_TESTS)
	S3_SERVERS=ceph,rclone $(BIN)/pytest --timeout 600 $(S3_TESTS)
	$(BIN)/python benches/soak.py --seconds $(SECONDS)

# Runs the tests on CPython 3.13 with the newest libraries, in a Debian in target/compat. Needs root and debootstrap.
compat: wheel
	tools/compat.sh dist/inhaul-*.whl $(SIDE_BY_SIDE) $(TESTS)

# zig links against the requested glibc, not that of this machine; maturin refuses a wheel that needs another one.
wheel: .venv/bin/maturin
	rm -f dist/inhaul-*.whl
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin build --release --zig --compatibility manylinux_2_28 --auditwheel check --out dist

clean:
	rm -rf .venv dist target docs/_build docs/reference/page.md .inhaul .benchmarks python/inhaul/_core*.so

# `--group` needs a newer pip than that of Python 3.11. Packages without wheels are also built without isolation, and
# setuptools can make wheels only since 70.1.
.venv/bin/maturin:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet 'pip>=25.1' 'maturin[zig]>=1.9,<2' 'setuptools>=70.1'

# One call for everything: a second one could change versions that the first one pinned. maturin looks for itself in PATH.
.venv/installed: .venv/bin/maturin pyproject.toml $(RUST)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --quiet --group test --group lint --group docs --group bench $(INSTALL)
	touch $@
