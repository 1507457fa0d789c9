# All commands of the project. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# Stops the stack even if make is killed.
RUN := setpriv --pdeathsig TERM $(BIN)/python
LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --custom-compile-command "make lock"
# All extras but the cache, which needs a newer pydantic than the rest.
LOWEST := --extra bodies --extra logs --extra otel --extra postgres
USERS ?= 2000
PRODUCTS ?= 1000
ORDERS ?= 20000
WORKERS ?= 1
HA ?=
export WORKERS HA
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
# Tests wait for servers more than they compute.
JOBS ?= 4

NAME ?=
# What a change still needs comes last, where it is read.
CHECKS := check-lint check-format check-types check-imports check-boards check-alerts check-viewer \
	check-docs check-changes

.DEFAULT_GOAL := help
.PHONY: help demo up watch test test-long test-fast matrix check dist format docs migration render schema pictures bench drill lock pin-images clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the whole stack with sample data and traffic; Ctrl-C stops it
	@exec $(RUN) -m stack demo --users $(USERS) --products $(PRODUCTS) --orders $(ORDERS)

up: $(READY) ## the whole stack without traffic; WORKERS=4 serves with four processes, HA=1 watches with a pair
	@exec $(RUN) -m stack up

watch: $(READY) ## watch a service that runs: TARGET=host:port JOB=shop [TOKEN_FILE=file], or CONFIG=file; [REDIS=url [REDIS_PASSWORD_FILE=file]]
	@exec $(RUN) -m stack watch $(if $(CONFIG),--config "$(CONFIG)",--job "$(JOB)" \
		$(foreach each,$(TARGET),"$(each)") $(if $(TOKEN_FILE),--token-file "$(TOKEN_FILE)")) \
		$(if $(REDIS),--redis "$(REDIS)") $(if $(REDIS_PASSWORD_FILE),--redis-password-file "$(REDIS_PASSWORD_FILE)")

test: $(READY) ## all checks and tests, as CI runs them
	@$(BIN)/python -m stack install --for-tests
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m checks.matrix oldest --quick
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not long" || $(MAKE) --no-print-directory test-again

# A test that fails beside others and passes alone depends on time: a fault of the test or worse. It
# is named, so that somebody mends it, but it does not hold up the work of others.
.PHONY: test-again
test-again:
	@echo "Again, alone and one after another: what passes now depends on time, and needs mending"
	$(BIN)/python -m pytest --verbose --last-failed --last-failed-no-failures none --exitfirst

test-long: $(READY) ## the long proofs that test leaves out, each night
	@$(BIN)/python -m stack install --for-tests
	$(BIN)/python -m checks.matrix oldest
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m long

test-fast: $(READY) ## the tests that need no servers, no browser and little time
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not servers and not slow" --ignore tests/browser

matrix: $(READY) ## the kit's tests on the oldest, locked and newest versions, on each Python
	$(BIN)/python -m checks.matrix

dist: $(READY) ## build the distributions of the kit and of its watch into dist/, and check them
	@$(BIN)/python -m checks.distribution

check: $(READY) ## lint, types, imports, rendered files, docs, what a change still needs: all at once
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync $(CHECKS)

.PHONY: $(CHECKS)
check-lint: ; $(BIN)/ruff check
check-format: ; $(BIN)/ruff format --check
check-types: ; $(BIN)/mypy
check-imports: ; $(BIN)/lint-imports
check-boards: ; $(BIN)/python -m dashboards --check
check-alerts: ; $(BIN)/python -m alerts --check
check-viewer: ; $(BIN)/python -m stack.viewer check
check-changes: ; $(BIN)/python -m checks
check-docs: ; $(MKDOCS)

format: $(READY) ## format the code, and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY) ## build the site of the docs into var/docs
	$(MKDOCS)
	@echo "open var/docs/index.html"

migration: $(READY) ## write a migration from the tables: make migration NAME=add_reviews
	@test -n "$(NAME)" || { echo "name the change: make migration NAME=add_reviews"; exit 2; }
	@$(RUN) -m service.db.new_migration "$(NAME)"
	@$(BIN)/ruff format --quiet service/migrations

render: $(READY) ## write boards, rules and docs/openapi.json from their Python
	$(BIN)/python -m dashboards
	$(BIN)/python -m alerts
	$(BIN)/python -m checks.expectations
	$(BIN)/python -m service openapi --output docs/openapi.json

schema: ## generate the board schema from Grafana's published types (Node 20)
	cd grafana/schema && npm ci --no-progress && npm run write

pictures: $(READY) ## record the reference screenshots of the boards again; check them by eye
	@$(BIN)/python -m stack install --for-tests
	$(BIN)/python -m pytest tests/browser --record -k "look or lists or kind or picture"

bench: $(READY) ## run the benchmarks against alternatives; fails above a budget
	$(BIN)/python -m bench

drill: $(READY) ## inject a fault and follow its alert: make drill ALERT=LatencyP95High, or ALERT=all; HA=1 kills one of a pair
	@test -n "$(ALERT)" || { echo "drill: no alert named: run make drill ALERT=LatencyP95High"; exit 2; }
	@exec $(RUN) -m stack drill $(ALERT)

lock: $(READY) ## pin the dependencies again
	$(LOCK) --extra all --group dev --output-file requirements/dev.txt
	$(LOCK) --extra all --group service --output-file requirements/service.txt
	$(LOCK) --extra all --group service --group watch --group stack --output-file requirements/stack.txt
	$(LOCK) $(LOWEST) --group kit-tests --upgrade --resolution lowest-direct --output-file requirements/oldest.txt
	$(subst pyproject.toml,requirements/clients.in,$(LOCK)) --output-file requirements/clients.txt

pin-images: $(READY) ## pin images by digest; needs Docker and a registry
	@$(RUN) -m stack.install.images

clean: ## remove the virtual environment and all data of the stack
	@if test -e $(READY); then $(BIN)/python -m stack clean; fi
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache

$(READY): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Vitals needs Python 3.11 or newer, found " + sys.version.split()[0] + ": run make PYTHON=python3.12")'
	@echo "installing the pinned dependencies into $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
