# One command for each thing. CI runs `make test` and nothing else.
.DEFAULT_GOAL := help
.PHONY: help run test bench bench-cluster fuzz fmt lint audit

help: ## show this list
	@sed -n 's/^\([a-z-]*\): ## /\1\t/p' Makefile | expand -t 16

run: ## build the release binary and start it on the embedded log and store
	cargo run --release --bin headwater -- dev

test: ## install what the checks need, then run every check and every test
	deploy/ci/test.sh

bench: ## run our own benches; results go into docs/benchmarks.md by hand
	cargo build --release --bin headwater
	cargo bench -p benches --bench engine
	cargo bench -p benches --bench server
	cargo bench -p benches --bench access
	cargo bench -p benches --bench queries

bench-cluster: ## measure a cluster, on engines of its own, beside one machine (BENCH="--secs 2")
	cargo build --release --bin headwater
	cargo bench -p benches --bench cluster -- $(BENCH)

fuzz: ## run every fuzz target: FUZZ_SECONDS in all, 60 by default
	fuzz/run.sh

fmt: ## format all code
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml

lint: ## formatting and clippy, as `make test` does
	deploy/ci/test.sh lint

audit: ## licences, bans, sources and known flaws of what we depend on
	deploy/ci/test.sh audit
