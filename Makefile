# The two commands are `make demo` and `make test`; the rest are their parts. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tabtune
TARGET := $(or $(CARGO_TARGET_DIR),target)
PYTHON := $(CACHE)/venv/bin/python
GGUF := $(CACHE)/models/SmolLM2-135M-Instruct.Q4_1.gguf
SMOLLM2 := $(CACHE)/models/smollm2-135m
BINDGEN_OUT := www/worker/wasm
BINDGEN := wasm-bindgen --target web --out-dir $(BINDGEN_OUT) --out-name tabtune
BASE := www/public/base
TEXT_SAMPLE := www/public/samples/captain.txt
DEBUG := $(TARGET)/debug/tabtune
WITH_BROWSER = CHROMIUM="$$(tools/setup.sh browser-path)"
BENCH = node tests/bench/bench.mjs --python $(PYTHON) --tabtune $(TARGET)/release/tabtune
WEB := --target wasm32-unknown-unknown
export PYTHONDONTWRITEBYTECODE := 1
export PATH := $(CACHE)/bin:$(PATH):$(HOME)/.cargo/bin

help: ## list these commands
	@awk -F ': ## ' '/^[a-z-]+: ## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
.PHONY: help

demo: ## open the page; with HEADLESS=1 TEXT=file [OUT=dir] [DEVICE=gpu|cpu] [WORKERS=n]: train in a headless Chromium
demo: $(if $(HEADLESS),demo-text) setup-build $(if $(HEADLESS),setup-browser) wasm page
ifdef HEADLESS
	@mkdir -p "$(or $(OUT),artefacts/demo)"
	@text=$$(realpath "$(TEXT)"); out=$$(realpath "$(or $(OUT),artefacts/demo)"); \
	$(WITH_BROWSER) npm --prefix www run demo:headless -- --text "$$text" --out "$$out" \
		--device "$(or $(DEVICE),auto)" --workers "$(or $(WORKERS),auto)"
else
	@npm --prefix www run demo
endif
.PHONY: demo

demo-text:
	@[ -f "$(TEXT)" ] || { \
		echo "make demo HEADLESS=1 TEXT=file [OUT=dir] [DEVICE=gpu|cpu]: TEXT must name a text file, found \`$(TEXT)\`" >&2; \
		exit 2; \
	}
.PHONY: demo-text

wasm: ## build the engine for the page
	@cargo build --profile web $(WEB) --lib
	@wasm=$(TARGET)/wasm32-unknown-unknown/web/tabtune.wasm; \
	if [ ! $(BINDGEN_OUT)/tabtune_bg.wasm -nt $$wasm ]; then $(BINDGEN) $$wasm; fi
.PHONY: wasm

page: ## build the page into www/dist
	@npm --prefix www run build
.PHONY: page

package: ## build and pack the npm packages into www/dist-package, with the wasm that was built last
package: setup-build wasm
	npm --prefix www run package
.PHONY: package

docs: ## make the API reference of the npm package in docs/api
docs: setup-build
	@# TypeDoc does not take TypeScript 7 yet.
	npm exec --yes --package=typedoc@0.28.20 --package=typescript@6.0.3 -- typedoc --options www/package/typedoc.json
.PHONY: docs

test: ## run every test: native, in the browser, the page, against PyTorch and PEFT
test: setup-build setup-browser setup-driver setup-vulkan setup-python setup-models
	@# The engine's tests in the browser wait for one thread that compiles shaders: beside it there is room for the rest.
	@mkdir -p artefacts; status=0; \
	$(MAKE) --keep-going test-native test-page || status=1; \
	$(MAKE) test-wasm >artefacts/test-wasm.log 2>&1 & wasm=$$!; \
	$(MAKE) --keep-going test-package test-parity || status=1; \
	wait $$wasm || status=1; \
	cat artefacts/test-wasm.log; \
	exit $$status
.PHONY: test

test-native:
	cargo test --no-fail-fast
.PHONY: test-native

test-wasm:
	CHROMEDRIVER="$${CHROMEDRIVER:-$$(command -v chromedriver)}" WASM_BINDGEN_TEST_TIMEOUT=2400 \
		cargo test --profile web $(WEB) --test suite
.PHONY: test-wasm

# For each device, these tests leave the adapter they downloaded in artefacts/main_job/, and logits that the page
# computed with it; likewise a whole model in artefacts/full_job/, and a merged one in artefacts/merged_job/.
test-page: wasm page
	rm -rf artefacts/main_job artefacts/full_job artefacts/merged_job
	$(WITH_BROWSER) npm --prefix www test
.PHONY: test-page

# Installs the packages from their tarballs, and tools from npm's registry. Every type that a call names must be in the
# reference. The adapters of a recipe are left in artefacts/package/snippets for Python, and merged models in
# artefacts/package/merged.
test-package: package docs
	$(WITH_BROWSER) npm --prefix www run test:package
.PHONY: test-package

test-parity: parity-samples parity-fixtures parity-tokenizers parity-page parity-run parity-full parity-merge
test-parity: parity-exports parity-recipe parity-interrupts parity-smollm2
.PHONY: test-parity

parity-samples:
	python3 tests/parity/check_samples.py
.PHONY: parity-samples

parity-fixtures:
	$(PYTHON) tests/fixtures/make_fixtures.py --check
	$(PYTHON) tests/fixtures/make_tokenizers.py --check
	$(PYTHON) tests/fixtures/make_gguf.py --check
	if [ -f "$(CACHE)/models/smollm2/tokenizer.json" ]; then $(PYTHON) tests/fixtures/make_text.py --check; fi
.PHONY: parity-fixtures

# The published tokenizers that could be fetched.
parity-tokenizers:
	@if compgen -G "$(CACHE)/models/*/tokenizer.json" >/dev/null; then \
		cargo test --no-run && $(PYTHON) tests/parity/check_tokenizers.py \
			--tokenize $(TARGET)/debug/examples/tokenize --models "$(CACHE)/models"; \
	else echo "NOT TESTED: the tokenizers of published models, which could not be fetched"; fi
.PHONY: parity-tokenizers

parity-page:
	for device in gpu cpu; do \
		$(PYTHON) tests/parity/check_adapter.py --base $(BASE) \
			--adapter artefacts/main_job/$$device/tabtune-adapter.zip --probe artefacts/main_job/$$device/probe.json; \
	done
	$(PYTHON) tests/parity/check_checkpoint.py --base $(BASE) --data $(TEXT_SAMPLE) \
		--model artefacts/full_job/tabtune-model.zip --probe artefacts/full_job/probe.json
.PHONY: parity-page

# Built as `cargo test` builds it, so that nothing is compiled twice.
parity-run:
	cargo test --no-run
	for device in gpu cpu; do \
		$(PYTHON) tests/parity/check_run.py --tabtune $(DEBUG) --base $(BASE) --data $(TEXT_SAMPLE) \
			--out artefacts/parity --device $$device; \
	done
.PHONY: parity-run

parity-full:
	cargo test --no-run
	for device in gpu cpu; do \
		$(PYTHON) tests/parity/check_full.py --tabtune $(DEBUG) --base $(BASE) --data $(TEXT_SAMPLE) \
			--out artefacts/full --device $$device; \
	done
.PHONY: parity-full

parity-merge:
	cargo test --no-run
	$(PYTHON) tests/parity/check_merge.py --tabtune $(DEBUG) --base $(BASE) --text $(TEXT_SAMPLE) --out artefacts/merge \
		--package artefacts/package/merged --page artefacts/merged_job
.PHONY: parity-merge

# llama.cpp and MLX read what is exported for them.
parity-exports:
	cargo test --no-run
	$(PYTHON) tests/parity/check_exports.py --tabtune $(DEBUG) --base $(BASE) --text $(TEXT_SAMPLE) \
		--out artefacts/exports $(if $(wildcard $(GGUF)),--gguf "$(GGUF)")
.PHONY: parity-exports

parity-recipe:
	$(PYTHON) tests/parity/check_recipe.py --folder artefacts/package/snippets
.PHONY: parity-recipe

# The run that is killed three times here is killed twenty times in `make test-slow`.
parity-interrupts:
	cargo test --no-run
	python3 tests/parity/check_interrupts.py --tabtune $(DEBUG) --data $(TEXT_SAMPLE) --out artefacts/interrupts \
		--kills $(or $(KILLS),3)
.PHONY: parity-interrupts

test-slow: ## run the tests that take half an hour: SmolLM2-135M beside PEFT and in Chromium, kills, whole runs, Firefox
test-slow: setup-build setup-browser setup-driver setup-wasm-pack setup-firefox setup-vulkan setup-python setup-models
test-slow: $(SMOLLM2)/model.safetensors wasm page
	npm --prefix www run test:firefox
	WASM_BINDGEN_TEST_TIMEOUT=2400 wasm-pack test --headless --chrome --chromedriver "$$(command -v chromedriver)" \
		--mode no-install . --profile web --test suite
	$(MAKE) parity-interrupts KILLS=20
	cargo build --release
	$(PYTHON) tests/parity/check_smollm2.py --tabtune $(TARGET)/release/tabtune --model $(SMOLLM2) \
		--data $(TEXT_SAMPLE) --out artefacts/smollm2 --page $(if $(PAIRS),--pairs "$(PAIRS)")
	$(WITH_BROWSER) HEAVY=1 ROUNDS=200 $(MAKE) test-package
	$(WITH_BROWSER) STEPS=150 ONLY=main_job,main_job_gpu npm --prefix www test
	$(WITH_BROWSER) SMOLLM2=$(CURDIR)/artefacts/smollm2 ONLY=real_model npm --prefix www test
.PHONY: test-slow

# One step of the real model, and 40 tokens of text, where its weights could be fetched.
parity-smollm2:
	@if [ -f "$(GGUF)" ]; then \
		[ -f "$(SMOLLM2)/model.safetensors" ] || $(PYTHON) tools/smollm2.py "$(GGUF)" "$(SMOLLM2)"; \
		$(PYTHON) tests/parity/check_smollm2.py --tabtune $(DEBUG) --model $(SMOLLM2) \
			--gguf "$(GGUF)" --data $(TEXT_SAMPLE) --out artefacts/smollm2 --steps 1; \
	else echo "NOT TESTED: SmolLM2-135M, whose weights could not be fetched"; fi
.PHONY: parity-smollm2

$(SMOLLM2)/model.safetensors:
	$(PYTHON) tools/smollm2.py "$(GGUF)" "$(SMOLLM2)"

fuzz: ## let fuzzers look for files that break a reader, FUZZ_SECONDS (600) for each reader
fuzz: setup-fuzz $(addprefix fuzz-,adapter config documents gguf run_state safetensors shards template tokenizer)
.PHONY: fuzz

# With the package's versions of everything, and without a sanitizer: nothing in src is unsafe, so what there is to find
# are panics, overflows (checked in this build), broken promises, and inputs that take seconds or hundreds of megabytes.
# What is found is in fuzz/artifacts.
fuzz-%: fuzz/Cargo.lock
	mkdir -p fuzz/corpus/$*
	cargo +nightly fuzz run --sanitizer none $* fuzz/corpus/$* fuzz/seeds/$* -- \
		-max_total_time=$(or $(FUZZ_SECONDS),600) -dict=fuzz/words.dict -timeout=10 -report_slow_units=1 \
		-rss_limit_mb=600 -print_final_stats=1

fuzz/Cargo.lock: Cargo.lock
	cp $< $@

# The shaders and what only a browser runs are not counted.
coverage: ## measure how much of src the native suite runs
coverage: setup-build setup-vulkan setup-coverage
	cargo llvm-cov --ignore-filename-regex '(registry/|src/web|tests/)' --summary-only
.PHONY: coverage

bench: ## measure the kernels and a training step
bench: setup-vulkan
	cargo run --release --bin tabtune -- bench
.PHONY: bench

codegen: ## see what Mesa's compiler for AMD cards makes of the kernels, without such a card [FAMILY=navi21]
codegen: setup-build setup-vulkan
	@driver=$$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name 'radeon_icd*.json' 2>/dev/null | head -n 1); \
	[ -n "$$driver" ] || { echo "make codegen needs Mesa's driver for AMD cards (mesa-vulkan-drivers)" >&2; exit 2; }; \
	RADV_FORCE_FAMILY="$(or $(FAMILY),navi21)" RADV_DEBUG=nocache VK_DRIVER_FILES="$$driver" \
		VK_ICD_FILENAMES="$$driver" cargo test --test suite -- --ignored --nocapture what_a_compiler_makes
.PHONY: codegen

bench-peers: ## measure a training step beside PyTorch, and in headless Chromium beside jax-js and TensorFlow.js
bench-peers: setup-build setup-browser setup-python setup-models wasm
bench-peers: $(SMOLLM2)/model.safetensors tests/bench/node_modules/.package-lock.json
	cargo build --release --bin tabtune
	cargo build --profile web $(WEB) --package products
	wasm-bindgen --target web --out-dir artefacts/bench/products --out-name products \
		$(TARGET)/wasm32-unknown-unknown/web/products.wasm
	$(PYTHON) tests/bench/reference.py make artefacts/bench/config-s
	$(PYTHON) tests/bench/reference.py make artefacts/bench/smollm2 --model $(SMOLLM2) --text $(TEXT_SAMPLE) \
		--batch 1 --seq-len 256 --steps 6
	$(WITH_BROWSER) $(BENCH) artefacts/bench/config-s
	$(WITH_BROWSER) $(BENCH) artefacts/bench/smollm2 --only tabtune-native
.PHONY: bench-peers

tests/bench/node_modules/.package-lock.json: tests/bench/package-lock.json
	npm --prefix tests/bench ci --no-audit --no-fund

release: ## build the page with the smallest wasm
release: setup-build
	cargo build --profile web-release $(WEB) --lib
	$(BINDGEN) $(TARGET)/wasm32-unknown-unknown/web-release/tabtune.wasm
	npm exec --yes --package=binaryen@132.0.0 -- \
		wasm-opt -Oz $(BINDGEN_OUT)/tabtune_bg.wasm -o $(BINDGEN_OUT)/tabtune_bg.wasm
	npm --prefix www run release
	RELEASE=1 npm --prefix www run test:sizes
	npm --prefix www run package
	RELEASE=1 node --test --test-reporter=spec tests/package/sizes.test.mjs
.PHONY: release

lint: ## check format and style
lint: setup-build setup-lint
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy $(WEB) --workspace --all-targets -- -D warnings
	npm --prefix www run lint
.PHONY: lint

setup-%:
	@tools/setup.sh $*
