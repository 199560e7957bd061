# Pawprint's build. `make serve` and `make test` are enough on a new machine: they check the tools,
# download the pinned libtorch and base weights once and call Cargo. After that, Cargo also works on its
# own.

CARGO ?= cargo
# Server options: make serve ARGS="--listen 127.0.0.1:9000"
ARGS ?=
# Output of `make dist`: the install tree, which is /opt/pawprint in the container image.
DIST ?= dist
IMAGE ?= pawprint
# Images for `make bench`, `make bench-growth`, `make bench-decode`, `make review-figures`, `make reproduce` and `make load`.
DATA ?= $(PAWPRINT_REAL_DATA)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
WHEELS = $(or $(CARGO_TARGET_DIR),target)/wheels

.DEFAULT_GOAL := help
.PHONY: help tools libtorch base-weights openvino downloads build serve test check fmt sqlx sqlx-check dist image reproduce load bench bench-compare bench-decode bench-growth review-figures test-long faults docker-test cluster-test onnx-test wheel wheel-test deny sbom clean distclean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
	@echo '  CUDA=1 also downloads the CUDA libraries, CUDA=0 removes them; the binary is the same.'

tools: # runs each tool, because macOS has placeholders that only offer to install the real one
	@missing=0; \
	need() { \
		what=$$1 how=$$2; shift 2; \
		"$$@" --version >/dev/null 2>&1 && return; \
		missing=1; echo "Missing: $$what. $$how" >&2; \
	}; \
	need 'Rust' 'Install it with rustup: https://www.rust-lang.org/tools/install' $(CARGO); \
	need 'a C++ compiler' 'Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install' "$${CXX:-c++}"; \
	need 'Python 3 with pip' 'Debian, Ubuntu: apt-get install python3-pip; Fedora: dnf install python3-pip; macOS: brew install python' python3 -m pip; \
	exit $$missing

ifdef LIBTORCH
libtorch: tools
	@echo 'libtorch: using LIBTORCH=$(LIBTORCH)'
else
libtorch: tools ## download the pinned libtorch into .libtorch (once)
	@scripts/libtorch
endif

base-weights: tools ## download the weights of the base networks into .base-weights (once)
	@scripts/base-weights

openvino: tools ## download OpenVINO's libraries into .openvino (once; Linux x86-64)
	@scripts/openvino

downloads: libtorch base-weights openvino

build: downloads ## build the release binary
	$(CARGO) build --release --locked

serve: downloads ## build and run the server (ARGS="..." for server options)
	$(CARGO) run --release --locked -- serve $(ARGS)

# Several processes compute at once. OpenMP's threads spin while they wait: half of the processor time went there.
test: downloads ## run all tests
	OMP_WAIT_POLICY=passive $(CARGO) test --locked

# There are no examples: with them, `cargo doc` takes the dependencies as clippy has checked them.
check: downloads ## check formatting, lints, docs and dashboard types (warnings are errors)
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked --lib --bins --examples
	scripts/check-js

fmt: ## format the code
	$(CARGO) fmt

sqlx: downloads ## regenerate .sqlx after changing a query or migration
	scripts/sqlx

sqlx-check: downloads ## fail if .sqlx is out of date
	scripts/sqlx --check

dist: build ## create a relocatable install tree in dist
	scripts/dist $(RELEASE)/pawprint $(DIST)

image: ## build the container image (ARGS="..." for options of docker build)
	docker build $(ARGS) --build-arg CUDA=$(or $(CUDA),0) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" --tag $(IMAGE) .

reproduce: build ## train recipes on DATA and print the accuracy tables of docs/performance.md (takes hours)
	scripts/reproduce $(RELEASE)/pawprint $(DATA) $(ARGS)

load: build ## load-test predictions on the images in DATA (ARGS="--data-dir DIR")
	scripts/load $(RELEASE)/pawprint $(DATA) $(ARGS)

bench: build ## compare with other ways to train and serve, on DATA (takes hours; ARGS=--short: minutes)
	benches/bench.py $(RELEASE)/pawprint $(DATA) $(ARGS)

bench-compare: ## fail if result B of `make bench` is slower than result A, relative to its peers (A=FILE B=FILE)
	@benches/bench.py --compare $(A) $(B)

bench-decode: downloads ## benchmark image decoding and preprocessing on DATA
	$(CARGO) bench --locked --bench decode -- $(DATA)

review-figures: downloads ## measure what reviews find on data with made faults (DATA; ARGS="--growth 5000 10000 50000")
	$(CARGO) bench --locked --bench review -- $(DATA) $(ARGS)

bench-growth: build ## measure what grows with images, jobs, models and epochs (DATA: JPEGs; ARGS="--short")
	benches/growth.py $(RELEASE)/pawprint $(DATA) $(ARGS)

test-long: downloads ## run the tests that take minutes each (a map of 5,000 photos)
	OMP_WAIT_POLICY=passive $(CARGO) test --release --locked --test dashboard -- --ignored

faults: downloads ## run the fault injection tests in their long form (20 minutes)
	PAWPRINT_FAULTS=long $(CARGO) test --release --locked --test faults -- --nocapture --test-threads=1

docker-test: ## build the container image and test it with a real engine (ARGS="--image IMAGE": test that one)
	scripts/docker-test $(ARGS)

cluster-test: build ## test jobs on real Ray and Slurm clusters on this machine (10 minutes; ARGS=ray or ARGS=slurm: that one)
	scripts/cluster-test $(RELEASE)/pawprint $(ARGS)

onnx-test: downloads ## compare exported models in ONNX Runtime with Pawprint (on real photos too: PAWPRINT_REAL_DATA)
	CARGO=$(CARGO) scripts/onnx-test $(RELEASE)/onnx-test

wheel: build ## build the Python wheel in target/wheels
	scripts/wheel $(RELEASE)/pawprint $(WHEELS)

wheel-test: wheel ## try the wheel in a fresh environment (CUDA=1 with all that pip installs for it, 5 GB)
	scripts/wheel-test $(WHEELS)/pawprint-*.whl $(RELEASE)/wheel-test

deny: ## check the dependencies: advisories, licences, sources, duplicates (ARGS=--offline: no advisories)
	scripts/deny $(ARGS)

sbom: ## write the software bill of materials, CycloneDX, beside the release binary
	scripts/sbom $(RELEASE)/pawprint.cdx.json

clean: ## remove build output
	$(CARGO) clean
	rm -rf $(DIST)

distclean: clean ## also remove the downloads
	rm -rf .libtorch .libtorch.* .base-weights .base-weights.* .openvino .openvino.*
