# Pawprint's build. `make serve` and `make test` are all that a fresh machine needs: they check the
# tools, fetch the pinned libtorch once, and leave the rest to Cargo, which can be called by itself
# from then on.

CARGO ?= cargo
# The server's own: make serve ARGS="--listen 127.0.0.1:9000"
ARGS ?=
# Where `make dist` lays the tree that /opt/pawprint is in the image.
DIST ?= dist
IMAGE ?= pawprint
# The photos that `make reproduce` trains on and `make load` sends.
DATA ?= $(PAWPRINT_REAL_DATA)

RELEASE = $(or $(CARGO_TARGET_DIR),target)/release

.DEFAULT_GOAL := help
.PHONY: help tools libtorch build serve test check fmt sqlx sqlx-check dist image reproduce load bench-decode clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo '  CUDA=1 fetches the CUDA libraries as well, CUDA=0 drops them; the binary is the same.'

tools: # each is asked to run: macOS has stand-ins that only offer to install the real one
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
	@echo 'libtorch: LIBTORCH is set, so $(LIBTORCH) it is'
else
libtorch: tools ## fetch the pinned libtorch into .libtorch (once)
	@scripts/libtorch
endif

build: libtorch ## build the release binary
	$(CARGO) build --release --locked

serve: libtorch ## build, then run the server (ARGS="..." are its own)
	$(CARGO) run --release --locked -- serve $(ARGS)

test: libtorch ## run every test
	$(CARGO) test --locked

check: libtorch ## formatting, lints, documentation and the dashboard's types, warnings being errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked
	scripts/check-js

fmt: ## format the code
	$(CARGO) fmt

sqlx: libtorch ## renew .sqlx after a change to a query or a migration
	scripts/sqlx

sqlx-check: libtorch ## fail if .sqlx is not what the queries and migrations say
	scripts/sqlx --check

dist: build ## lay the binary and the libraries it needs down in dist, to be moved anywhere
	scripts/dist $(RELEASE)/pawprint $(DIST)

image: ## build the container image
	docker build --build-arg CUDA=$(or $(CUDA),0) --tag $(IMAGE) .

reproduce: build ## train the four recipes on DATA and print the table of README.md (hours)
	scripts/reproduce $(RELEASE)/pawprint $(DATA) $(ARGS)

load: build ## measure predictions of DATA's photos by the models in ./data (ARGS="--data-dir DIR")
	scripts/load $(RELEASE)/pawprint $(DATA) $(ARGS)

bench-decode: libtorch ## time how DATA's photos are decoded and prepared for a network
	$(CARGO) bench --locked --bench decode -- $(DATA)

clean: ## remove what was built
	$(CARGO) clean
	rm -rf $(DIST)

distclean: clean ## remove libtorch as well
	rm -rf .libtorch .libtorch.*
