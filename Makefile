# Everything that is built, tested and tried here; each target sets up what it needs by itself.
.DEFAULT_GOAL := help
.PHONY: help test test-fast test-torch test-engines test-vm lint bench demo docs wheel install clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

test: ## All tests: lint, Rust, other processors, fuzzing, Python; ends with their count
	@python3 scripts/run_tests.py all

test-fast: ## The tests of Rust and Python on this processor alone
	@python3 scripts/run_tests.py fast

test-torch: ## The tests with PyTorch, which takes gigabytes and is not in `test`
	@python3 scripts/run_tests.py torch

test-engines: ## The tests with Ray, Spark, Dask and the other engines
	@python3 scripts/run_tests.py engines

test-vm: ## The kernel module: its maps, and in virtual machines on three kernels
	@python3 scripts/run_tests.py vm-all

lint: ## Formatting, clippy, documentation, types, and the rules of this tree
	@python3 scripts/run_tests.py lint

bench: ## The benchmarks of Rust, of Python, and of the kernel module in guests
	@python3 scripts/bench.py

demo: ## Publish real data in one process and open it in others
	@bash scripts/demo.sh

docs: ## The documentation, in target/site, and that of the Rust crates; every warning an error
	@python3 scripts/docs.py

wheel: ## The Python package for any Linux from glibc 2.28 on, and its sources, in dist/
	@python3 scripts/package.py wheel

install: ## The native command and what a system has of it, below DESTDIR for PREFIX (/usr)
	@python3 scripts/package.py stage "$(DESTDIR)" "$(or $(PREFIX),/usr)"

clean: ## Remove all that was built
	@bash scripts/clean.sh
