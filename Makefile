# `make run` serves; `make test` tests. Both make .venv and install everything themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Distributions of their own, all under plugins/jackfield-NAME; those of the demo, and the others.
DEMO := chat demo-agent
PLUGINS := $(DEMO) a2a
PEERS := benchmarks/peers
CLIENT := client
# What a plain install copies, so that a change of it installs the plugin again.
plugin_sources = plugins/jackfield-$(1)/setup.cfg $(wildcard $(addprefix plugins/jackfield-$(1)/jackfield_*/,*.py static/*))

# What depends on how marshmallow works inside, and so is tested at both ends of its range.
OLDEST_MARSHMALLOW := $(shell sed -n 's/^ *marshmallow >= \([0-9.]*\),.*/\1/p' setup.cfg)
VALIDATION_TESTS := $(addprefix tests/unit/schema/,compiled test_coded.py test_field_errors.py test_validation.py test_json_schema.py)

.PHONY: run test test-oldest chaos model lint bench bench-fanout bench-agents docs serve-docs wheel clean help
.DEFAULT_GOAL := help

help: ## Show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(DEMO:%=$(VENV)/%) ## Serve on 127.0.0.1:8080: an embedded Valkey, the demo plugin and an agent
	@exec $(BIN)/jackfield serve --config config/demo.toml

# Two at a time, as most tests wait most of the time; those of a module share what they start.
test: $(VENV)/test $(VENV)/client ## Run every test
	@$(BIN)/pytest --numprocesses 2 --dist loadscope

test-oldest: $(VENV)-oldest/test ## Run the tests of validation with the oldest marshmallow that setup.cfg allows
	@$(VENV)-oldest/bin/pytest -q $(VALIDATION_TESTS)

lint: $(VENV)/lint $(VENV)/test $(VENV)/bench ## ruff, mypy (also against the built wheel) and lint-imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy plugins/jackfield-a2a/tests/*.py
	$(BIN)/python tests/support/check_wheel_types.py

chaos: $(VENV)/test ## Break everything at random for five minutes and see that nothing is lost; OPTIONS as for bench
	@$(BIN)/python -m tests.chaos $(OPTIONS)

model: $(VENV)/test ## Hold topics on two nodes against a model of them, step by step at random; OPTIONS as for bench
	@$(BIN)/python -m tests.model $(OPTIONS)

# mkdocs-material advertises its successor on every build.
export NO_MKDOCS_2_WARNING := 1

bench: $(VENV)/bench $(VENV)/node ## Measure requests, side by side with other servers; OPTIONS="--help" tells what can be chosen
	@$(BIN)/python -m benchmarks.requests $(OPTIONS)

bench-fanout: $(VENV)/bench $(VENV)/node ## Measure topics, side by side with other servers; OPTIONS as for bench
	@$(BIN)/python -m benchmarks.fanout $(OPTIONS)

bench-agents: $(VENV)/bench ## Measure calls of agents and their streams; OPTIONS as for bench
	@$(BIN)/python -m benchmarks.agents $(OPTIONS)

docs: $(VENV)/docs ## Build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet

serve-docs: $(VENV)/docs ## Serve the documentation while it is written
	$(BIN)/mkdocs serve

wheel: $(VENV)/lint ## Build the distributions into dist/
	$(BIN)/python -m build --quiet --outdir dist .
	for plugin in $(PLUGINS); do $(BIN)/python -m build --quiet --outdir dist plugins/jackfield-$$plugin || exit; done

clean: ## Remove what was made
	rm -rf $(VENV) $(VENV)-oldest $(PEERS)/node_modules $(CLIENT)/node_modules $(CLIENT)/types build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Jackfield needs Python 3.11 or later; name one with make PYTHON=...")'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(BIN)/python setup.cfg pyproject.toml
	@echo "Installing Jackfield ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(foreach plugin,$(PLUGINS),$(eval $(VENV)/$(plugin): $(call plugin_sources,$(plugin))))

$(PLUGINS:%=$(VENV)/%): $(VENV)/%: $(VENV)/core
	@echo "Installing jackfield-$*, as anyone would ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check ./plugins/jackfield-$*
	@touch $@

$(VENV)/test $(VENV)/lint $(VENV)/bench $(VENV)/docs: $(VENV)/%: $(PLUGINS:%=$(VENV)/%)
	@echo "Installing what '$*' needs ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(VENV)-oldest/test: setup.cfg pyproject.toml
	@echo "Making $(VENV)-oldest, with marshmallow $(OLDEST_MARSHMALLOW) ..."
	@$(PYTHON) -m venv $(VENV)-oldest
	@$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' 'marshmallow == $(OLDEST_MARSHMALLOW).*'
	@touch $@

# Without npm there is no stamp, and the benchmark says what it leaves out.
$(VENV)/node: $(BIN)/python $(PEERS)/package.json $(PEERS)/package-lock.json
	@if command -v npm >/dev/null; then \
		echo "Installing the packages of the peers that run on Node ..."; \
		npm ci --silent --prefix $(PEERS) && touch $@; \
	fi

# Without npm on this machine there is the one that pip has put into .venv for the tests.
$(VENV)/client: $(VENV)/test $(CLIENT)/package.json $(CLIENT)/package-lock.json
	@echo "Installing what the JavaScript client is checked with ..."
	@PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --silent --prefix $(CLIENT)
	@touch $@
