# Everything that is built lives in one cache outside the tree, so that a fresh clone starts warm.
CACHE := $(or $(LAB_HOME),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/karpenter-tofu)
export LAB_HOME := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
export CARGO ?= cargo
PROVIDER := $(CARGO_TARGET_DIR)/debug/terraform-provider-karpenter

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test matrix check docs tools build bench

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r t d; do printf '  make %-10s %s\n' "$$t" "$$d"; done

demo: tools build ## the seed stack on a local Kubernetes API and an AWS emulator, applied with the real tofu
	environment/demo.sh up $(PROVIDER)

demo-down: ## destroy the demo's stack and stop its servers
	environment/demo.sh down

test: tools ## all tests, against real servers
	tests/run.py

matrix: tools ## long runs, seeds printed: random specs against a real API server, renders against helm, every call of the bundle killed around and failed
	DIFFERENTIAL_SEED=$${DIFFERENTIAL_SEED:-$$(date +%s)} DIFFERENTIAL_COUNT=$${DIFFERENTIAL_COUNT:-50000} $(CARGO) test --locked --test differential -- --nocapture
	HELM_SEED=$${HELM_SEED:-$$(date +%s)} HELM_RENDERS=$${HELM_RENDERS:-10000} $(CARGO) test --locked --test helm render:: -- --nocapture
	MATRIX_CELLS=$${MATRIX_CELLS:-all} MATRIX_STAGES=$${MATRIX_STAGES:-3} $(CARGO) test --locked --test matrix -- --nocapture --test-threads=1

check: ## rustfmt, clippy without warnings, generated files up to date
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) run --locked --quiet -- docs -check docs

docs: ## docs/, from the declarations
	$(CARGO) run --locked --quiet -- docs docs

build: ## the provider, debug profile
	$(CARGO) build --locked

tools: ## OpenTofu, Kubernetes, helm, registry and AWS emulator for the tests; about 15 minutes once
	environment/build.sh

bench: tools ## start-up, and 10, 100 and 1,000 pools: calls, time, CPU and memory as ratios, of a release
	$(CARGO) build --locked --release
	PLUGIN_BINARY=$(CARGO_TARGET_DIR)/release/terraform-provider-karpenter $(CARGO) bench --locked --profile dev --bench start --bench scale
