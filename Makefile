# `make run` serves; `make test` tests. Both make .venv and install everything themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Distributions of their own, all under plugins/jackfield-NAME; those of the demo, and the others.
DEMO := chat demo-agent
PLUGINS := $(DEMO) a2a
# What else is installed into $(VENV), from a lock of that name.
PURPOSES := test lint bench docs sbom release
PEERS := benchmarks/peers
CLIENT := client
# What a plain install copies, so that a change of it installs the plugin again.
plugin_sources = plugins/jackfield-$(1)/setup.cfg $(wildcard $(addprefix plugins/jackfield-$(1)/jackfield_*/,*.py static/*))

# What is installed comes from the locks in requirements/, by its hash; nothing is built but the
# distributions of this repository, by the locked setuptools.
PIP := -m pip --disable-pip-version-check
LOCKED := --require-hashes --only-binary :all:
lock = $(or $(ONE_LOCK),requirements/$(1).txt)
install = $(BIN)/python $(PIP) install --quiet $(LOCKED) --requirement
install_own = $(BIN)/python $(PIP) install --quiet --no-index --no-deps --no-build-isolation
# setuptools warns of folders that shadow an editable installation; none here has such a name.
install_editable = PYTHONWARNINGS='ignore:Editable installation.' $(install_own) --editable .

# A Python that is named is used, and an environment of another one made anew.
real_python = $$($(1) -c 'import os, sys; print(os.path.realpath(sys.executable))')
ifneq ($(filter command environment,$(origin PYTHON)),)
    $(shell [ ! -e $(BIN)/python ] || [ "$(call real_python,$(BIN)/python)" = "$(call real_python,$(PYTHON))" ] || rm -rf $(VENV))
endif

.PHONY: run test test-oldest test-newest attack chaos model fuzz lint bench bench-fanout bench-agents docs serve-docs wheel sbom update clean help
.DEFAULT_GOAL := help

help: ## Show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(DEMO:%=$(VENV)/%) ## Serve on 127.0.0.1:8080: an embedded Valkey, the demo plugin and an agent
	@exec $(BIN)/jackfield serve --config config/demo.toml

# Two at a time, as most tests wait most of the time; those of a module share what they start.
test: $(VENV)/test $(VENV)/client ## Run every test
	@$(BIN)/pytest --numprocesses 2 --dist loadscope

test-oldest: ## Run every test with the oldest versions that setup.cfg allows
	@$(MAKE) --no-print-directory test VENV=$(VENV)-oldest ONE_LOCK=requirements/oldest.txt

test-newest: ## Run every test with the newest versions that setup.cfg allows, whatever the locks say
	@rm -rf $(VENV)-newest
	@$(PYTHON) -m venv $(VENV)-newest
	@$(VENV)-newest/bin/python requirements/renew.py asked test > $(VENV)-newest/asked.txt
	@$(MAKE) --no-print-directory test VENV=$(VENV)-newest ONE_LOCK=$(VENV)-newest/asked.txt LOCKED=

lint: $(VENV)/lint $(VENV)/test $(VENV)/bench ## ruff, mypy (also against the built wheel), lint-imports and zizmor
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/mypy plugins/jackfield-a2a/tests/*.py
	$(BIN)/python tests/support/check_wheel_types.py
	$(BIN)/zizmor --offline --quiet .github

chaos: $(VENV)/test ## Break everything at random for five minutes and see that nothing is lost; OPTIONS as for bench
	@$(BIN)/python -m tests.chaos $(OPTIONS)

attack: $(VENV)/test ## Attack a server for a minute and see that others are served; OPTIONS="--only shares" chooses
	@$(BIN)/python -m tests.attacks $(OPTIONS)

model: $(VENV)/test ## Hold topics on two nodes against a model of them, step by step at random; OPTIONS as for bench
	@$(BIN)/python -m tests.model $(OPTIONS)

fuzz: $(VENV)/test ## Send two nodes messages at random for ten minutes; OPTIONS="--seconds 60" for one
	@$(BIN)/python -m tests.fuzz $(OPTIONS)

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

wheel: $(VENV)/release ## Build the distributions into dist/
	$(BIN)/python -m build --quiet --no-isolation --outdir dist .
	for plugin in $(PLUGINS); do $(BIN)/python -m build --quiet --no-isolation --outdir dist plugins/jackfield-$$plugin || exit; done

sbom: $(VENV)/sbom ## Write what an installed Jackfield consists of into dist/jackfield.cdx.json (CycloneDX)
	@rm -rf $(VENV)-sbom build/sbom
	@$(BIN)/python -m venv --without-pip $(VENV)-sbom
	@$(BIN)/python $(PIP) wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir build/sbom .
	@$(BIN)/python $(PIP) --python $(VENV)-sbom/bin/python install --quiet $(LOCKED) --requirement $(call lock,run)
	@$(BIN)/python $(PIP) --python $(VENV)-sbom/bin/python install --quiet --no-index --no-deps --find-links build/sbom jackfield
	@{ echo '[project]'; sed -nE 's/^(name|version) = (.*)/\1 = "\2"/p' setup.cfg; echo 'dependencies = ['; \
		$(BIN)/python requirements/renew.py asked run | sed 's/.*/"&",/'; echo ']'; } > build/sbom/pyproject.toml
	@mkdir -p dist
	$(BIN)/cyclonedx-py environment --output-reproducible --pyproject build/sbom/pyproject.toml --output-file dist/jackfield.cdx.json $(VENV)-sbom/bin/python

update: $(VENV)-update/update ## Make the locks anew from setup.cfg, with the newest versions it allows, and print what changed
	@$(VENV)-update/bin/python requirements/renew.py

clean: ## Remove what was made
	rm -rf $(VENV) $(VENV)-* $(PEERS)/node_modules $(CLIENT)/node_modules $(CLIENT)/types build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Jackfield needs Python 3.11 or later; name one with make PYTHON=...")'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(BIN)/python requirements/build.txt $(call lock,run)
	@echo "Installing what 'run' needs ..."
	@$(install) requirements/build.txt
	@$(install) $(call lock,run)
	@touch $@

$(VENV)/core: $(VENV)/run setup.cfg pyproject.toml
	@echo "Installing Jackfield ..."
	@$(install_editable)
	@touch $@

$(foreach plugin,$(PLUGINS),$(eval $(VENV)/$(plugin): $(call plugin_sources,$(plugin))))

$(PLUGINS:%=$(VENV)/%): $(VENV)/%: $(VENV)/core
	@echo "Installing jackfield-$*, as anyone would ..."
	@$(install_own) ./plugins/jackfield-$*
	@touch $@

$(VENV)/test: $(PLUGINS:%=$(VENV)/%)

$(foreach purpose,$(PURPOSES),$(eval $(VENV)/$(purpose): $(call lock,$(purpose))))

$(PURPOSES:%=$(VENV)/%): $(VENV)/%: $(VENV)/core
	@echo "Installing what '$*' needs ..."
	@$(install) $(call lock,$*)
	@touch $@

$(VENV)-update/update: requirements/update.txt
	@echo "Making $(VENV)-update ..."
	@$(PYTHON) -m venv $(VENV)-update
	@$(VENV)-update/bin/python $(PIP) install --quiet $(LOCKED) --requirement requirements/update.txt
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
