# Everything that a clone needs: a Python, make and the package registries.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# The other Python of today's LMS images, if it is here: 3.12 (event-routing-backends 10) beside 3.11 (9.3).
OTHER_VENV := .venv-other
DEMO_OUTPUT ?= demo-output
DEMO_TYPE ?= xapi
# What to test, and how: make test PYTEST="tests/demo -k samples"
PYTEST ?=
# How many tests run at the same time. Those of a file run one after the other, in the same process.
WORKERS ?= 2
# How to measure: make bench BENCH=--quick
BENCH ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Newer ones do not run on Python 3.10, and do not say so.
OLD_PYTHON := 'edx-opaque-keys<2.12; python_version < "3.11"'
# Today's event-routing-backends needs Python 3.11; there is an older one for 3.10. Each candidate is tried out: a
# version manager's name for a Python that it does not have is on PATH all the same.
PYTHON ?= $(shell for oldest in 11 10; do for python in python3 python3.12 python3.11 python3.13 python3.14 python3.10; do \
	"$$python" -c "import sys; sys.exit(sys.version_info < (3, $$oldest))" 2>/dev/null && echo "$$python" && exit; \
	done; done)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/installed-demo ## Run the job on the sample logs, into ./demo-output
	@# A root and a plugin folder of its own: the demo must not touch the Tutor of whoever runs it.
	@export TUTOR_ROOT="$(abspath $(VENV))/demo-tutor" TUTOR_PLUGINS_ROOT="$(abspath $(VENV))/demo-tutor-plugins"; \
	mkdir -p "$$TUTOR_ROOT" "$$TUTOR_PLUGINS_ROOT"; \
	$(BIN)/tutor plugins enable transform_logs >/dev/null 2>&1; \
	$(BIN)/tutor transform-logs demo --type "$(DEMO_TYPE)" --output "$(DEMO_OUTPUT)"

.PHONY: test
test: $(VENV)/installed-dev debian-packages ## Run all tests, against real servers that they start
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile $(PYTEST)
	@# Who names tests means those.
	@$(if $(findstring tests/,$(PYTEST)),,$(MAKE) --no-print-directory test-other)

.PHONY: test-other
test-other: $(VENV)/installed-dev debian-packages ## Run tests/fast and tests/job under the other Python: 3.12 beside 3.11
	@other=$$($(BIN)/python -m tests.harness.pythons); \
	if [[ -z "$$other" ]]; then \
		echo "tests/fast and tests/job ran under $$($(BIN)/python --version) only: neither PATH nor pyenv has the other Python"; \
	else \
		$(MAKE) --no-print-directory $(OTHER_VENV)/installed OTHER_PYTHON="$$other"; \
		TRANSFORM_LOGS_SERVERS_PYTHON="$(abspath $(BIN)/python)" $(OTHER_VENV)/bin/python -m pytest \
			--numprocesses=$(WORKERS) --dist=loadfile tests/fast tests/job $(PYTEST); \
	fi

.PHONY: test-fast
test-fast: $(VENV)/installed-dev ## Run the tests that need no real server, in less than a minute
	$(BIN)/python -m pytest -q --numprocesses=$(WORKERS) tests/unit
	$(BIN)/python -m pytest -q tests/docs tests/fast $(PYTEST)

.PHONY: bench
bench: $(VENV)/installed-dev debian-packages ## Measure beside ERB's command and Ralph's convert, into ./bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m bench $(BENCH)

.PHONY: faults
faults: $(VENV)/installed-dev debian-packages ## Kill it, lie to it, feed it rubbish, measure its memory: the long form
	TRANSFORM_LOGS_FAULTS=long $(BIN)/python -m pytest -q tests/faults tests/job/test_memory.py $(PYTEST)

.PHONY: e2e
e2e: $(VENV)/installed-dev debian-packages ## Run "tutor local do transform-tracking-logs" in real containers (installs Docker)
	@tests/e2e/install-docker
	$(BIN)/python -m pytest tests/e2e --ignore=tests/e2e/cluster -o python_files='scenario_*.py' $(PYTEST)
	@# 5: what was asked for has no test for this.
	$(BIN)/python -m pytest tests/e2e --ignore=tests/e2e/cluster -o python_files='scenario_*.py' --lms-python=3.11 \
		-m older_lms $(PYTEST) || (( $$? == 5 ))

.PHONY: kubernetes
kubernetes: $(VENV)/installed-dev ## Build the Kubernetes of "make cluster", if it is not there
	$(BIN)/python -m tests.e2e.cluster.programs

.PHONY: cluster
cluster: kubernetes debian-packages ## Run "tutor k8s do transform-tracking-logs" on a Kubernetes built with Go
	@tests/e2e/install-docker containernetworking-plugins
	@# The first test also waits for the images.
	$(BIN)/python -m pytest tests/e2e/cluster --timeout=1800 -o python_files='scenario_*.py' $(PYTEST)

.PHONY: lint
lint: $(VENV)/installed-dev ## Check style, types, the rendered script and the distributions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict --exclude /migrations/
	$(BIN)/python docs/reference.py --check
	@$(MAKE) --no-print-directory docs
	$(BIN)/shellcheck .ci/run tests/harness/install-debian-packages tests/e2e/install-docker tests/e2e/docker-buildx
	@# The job's script as Tutor renders it.
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	export TUTOR_ROOT="$$folder/root" TUTOR_PLUGINS_ROOT="$$folder/plugins"; \
	mkdir "$$TUTOR_ROOT" "$$TUTOR_PLUGINS_ROOT"; \
	log="$$folder/log"; \
	{ $(BIN)/tutor plugins enable transform_logs && $(BIN)/tutor config save; } >"$$log" 2>&1 || { cat "$$log"; exit 1; }; \
	mapfile -t scripts < <(find "$$TUTOR_ROOT/env/plugins/transform_logs" -name '*.sh'); \
	(( $${#scripts[@]} )) || { echo "no rendered script found" >&2; exit 1; }; \
	echo "$(BIN)/shellcheck (rendered) $${scripts[*]##*/env/}"; \
	$(BIN)/shellcheck "$${scripts[@]}"
	@rm -rf build dist
	@echo "$(BIN)/python -m build"
	@$(BIN)/python -m build --outdir dist . >$(VENV)/build.log 2>&1 || { tail -30 $(VENV)/build.log; exit 1; }
	$(BIN)/twine check --strict dist/*

.PHONY: docs
docs: $(VENV)/installed-dev ## Make the documentation's pages, into docs/_build
	$(BIN)/sphinx-build -q -E -W --keep-going -n docs docs/_build

.PHONY: changelog-entry
changelog-entry: $(VENV)/installed-dev ## Begin an entry of the changelog, in changelog.d
	$(BIN)/scriv create

.PHONY: changelog
changelog: $(VENV)/installed-dev ## Collect the entries of changelog.d in CHANGELOG.md, for a release
	$(BIN)/scriv collect

.PHONY: format
format: $(VENV)/installed-dev ## Put the code into the project's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: clean
clean: ## Remove all that make has made here (servers for tests stay in ~/.cache/tutor-transform-logs)
	rm -rf $(VENV) $(OTHER_VENV) build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: debian-packages
debian-packages:
	@tests/harness/install-debian-packages

$(BIN)/python:
	@if [[ -z "$(PYTHON)" ]]; then \
		echo "No Python 3.10 or later found. Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; fi
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv --clear $(VENV) \
		|| { echo "Could not make a virtual environment (on Debian: apt-get install python3-venv)" >&2; exit 1; }

$(OTHER_VENV)/installed: setup.py pyproject.toml
	@echo "installing the plugin and what tests/fast and tests/job need into $(OTHER_VENV), with $$("$(OTHER_PYTHON)" --version)"
	@"$(OTHER_PYTHON)" -m venv --clear $(OTHER_VENV)
	@$(OTHER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,test]'
	@touch $@

$(VENV)/installed-demo: $(BIN)/python setup.py pyproject.toml
	@echo "installing the plugin and what the demo needs into $(VENV) (a minute or two)"
	@$(PIP) --editable '.[demo]' $(OLD_PYTHON)
	@touch $@

$(VENV)/installed-dev: $(BIN)/python setup.py pyproject.toml
	@echo "installing the plugin and what its tests need into $(VENV) (a few minutes)"
	@$(PIP) --editable '.[demo,dev]' $(OLD_PYTHON)
	@touch $(VENV)/installed-demo $@
