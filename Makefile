# Everything that is done with this repository, by name. `make help` lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help build run test torture bench lint fmt docs gen docker docker-test

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## release binary at target/release/usp
	cargo build --release --locked -p usp

run: build ## build, then serve on the embedded default with data in ./data
	exec $(TARGET_DIR)/release/usp serve --data-dir ./data

test: ## every test; installs or names what it needs first
	tools/setup-test.sh
	cargo fmt --all --check
	tools/run-tests.sh

torture: ## the long figures of the same tests: crashes, faults, load (an hour or more)
	tools/setup-test.sh
	tools/torture.sh

bench: build ## usp beside its peers: docs/BENCHMARKS.md (BENCH=--quick for five minutes)
	tools/bench-corpus.sh
	cargo build --release --locked -p usp-bench
	$(TARGET_DIR)/release/usp-bench --target $(TARGET_DIR) --usp $(TARGET_DIR)/release/usp $(BENCH)

lint: ## what a commit must pass besides the tests
	tools/setup-test.sh toolchain
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask gen --check
	cargo xtask tidy
	cargo xtask arrows
	cargo xtask deny

fmt: ## format all Rust code
	cargo fmt --all

docs: ## API documentation of all crates at target/doc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

gen: ## regenerate gen/ from proto/
	cargo xtask gen

docker: ## container image usp:latest; installs and starts an engine where none runs
	tools/docker.sh image

docker-test: ## a cluster of containers under fire: uploads while a processor, a gateway and NATS are killed
	tools/docker.sh test
