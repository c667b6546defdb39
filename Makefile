# Everything a person or a machine does here. `make help` tells it apart.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# About four minutes of two quiet cores.
SEEDS ?= 900
FIRST_SEED ?= 1
JOBS ?= 0
MINUTES ?= 30
CHAOS_IN_TEST ?= kill-leader deaf-leader power-loss
COMPOSE_IN_TEST ?= kill-leader disconnect-leader full-volume
ARGS ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The virtual environment is made once and again whenever pyproject.toml changes.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "raftmesh needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## make the virtual environment

.PHONY: demo
demo: setup ## a 3-replica cluster, two services behind real Envoys, and traffic through them
	$(BIN)/raftmesh up $(ARGS)

.PHONY: demo-script
demo-script: setup ## the same, unattended: exits 0 when the whole story holds
	$(BIN)/raftmesh up --script $(ARGS)

# Fast parts first; the last line tells how long each took. Simulation needs nothing but processors, so from
# test-process on it has those that are idle, and in the end all; what is told of it is what is left to wait.
STAGES := check test-fast judges conformance test-process test-chaos demo-script test-compose sim

.PHONY: test
test: ## everything, fast parts first
	@took=; behind=; log=$$(mktemp); trap 'kill $$behind 2>/dev/null; rm -f $$log' EXIT; \
	for stage in $(STAGES); do \
	    began=$$SECONDS; \
	    case $$stage in \
	    test-process) nice -n 19 $(MAKE) --no-print-directory sim >$$log 2>&1 & behind=$$!;; \
	    esac; \
	    case $$stage in \
	    sim) wait $$behind; status=$$?; behind=; cat $$log; [ $$status = 0 ];; \
	    *) $(MAKE) --no-print-directory $$stage;; \
	    esac || { echo "make test: $$stage failed"; exit 1; }; \
	    took+=" $$stage $$((SECONDS - began)) s,"; \
	done; echo "make test: everything holds;$${took%,}"

# In two processes, as the API's tests alone take about half of the time.
FAST := $(BIN)/python -m pytest -p no:cacheprovider -m 'not process and not envoy and not sim and not compose'

.PHONY: test-fast
test-fast: setup ## pure code and in-process tests
	@out=$$(mktemp); $(FAST) tests/cp $(ARGS) >$$out 2>&1 & api=$$!; \
	$(FAST) --ignore tests/cp --ignore tests/conformance $(ARGS); rest=$$?; \
	wait $$api; api=$$?; cat $$out; rm $$out; [ $$rest = 0 ] && [ $$api = 0 ]

.PHONY: test-process
test-process: setup ## real processes and real Envoys
	$(BIN)/python -m pytest -m 'process or envoy' $(ARGS)

.PHONY: conformance
conformance: setup ## replay Kuma's cases [SUITE=name]; RAFTMESH_CONFORMANCE names their folder
	$(BIN)/python -m pytest tests/conformance -s $(if $(SUITE),-k $(SUITE)) $(ARGS)

.PHONY: sim
sim: setup ## simulated clusters under faults: SEEDS=n FIRST_SEED=k [JOBS=cores]
	$(BIN)/python -m chaos.sim --seeds $(SEEDS) --first-seed $(FIRST_SEED) --jobs $(JOBS) --stats

.PHONY: soak
soak: setup ## the same for MINUTES=n, from FIRST_SEED=k on, else from seeds that nobody ran before
	$(BIN)/python -m chaos.sim --minutes $(MINUTES) --jobs $(JOBS) --stats \
	  --first-seed $(if $(filter command line,$(origin FIRST_SEED)),$(FIRST_SEED),$$(date +%s))

.PHONY: judges
judges: setup ## deliberately broken builds and servers, each of which the rigs must catch
	$(BIN)/python -m chaos.judges

.PHONY: chaos
chaos: setup ## real replicas in network namespaces under faults, as root: [FAULT="name ..."] [ARGS="--replicas 5"]
	$(BIN)/python -m chaos.processes $(FAULT:%=--fault %) $(ARGS)

# A machine that cannot (exit status 2) says so loudly, and is no failure: $(call where_possible,stage,command)
where_possible = status=0; $(2) || status=$$?; if [ $$status = 2 ]; then \
	echo "*** $(1) IS LEFT OUT: this machine cannot run it, for the reason above ***"; exit 0; fi; exit $$status

.PHONY: test-chaos
test-chaos: setup
	@$(call where_possible,$@,$(BIN)/python -m chaos.processes --seconds 3 $(CHAOS_IN_TEST:%=--fault %))

.PHONY: test-compose
test-compose: setup
	@$(call where_possible,$@,PYTHON=$(BIN)/python TOPOLOGY=mesh FAULT="$(COMPOSE_IN_TEST)" compose/test.sh)

.PHONY: compose-test
compose-test: setup ## replicas in containers under faults: [FAULT="name ..."] [TOPOLOGY=cluster-5|mesh]
	PYTHON=$(BIN)/python FAULT="$(FAULT)" TOPOLOGY=$(TOPOLOGY) compose/test.sh

.PHONY: check
check: setup ## format, lint, types, one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: setup ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: setup ## measure: [NAME=writes]; results also in bench/results/
	$(BIN)/python -m bench $(NAME)

.PHONY: clean
clean: ## remove what make made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis run bench/results
