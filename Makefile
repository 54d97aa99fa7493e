# Three commands for people: `make demo`, `make test` and `make drills`. All start from a bare checkout.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
ARGS   ?=

# Demo and tests start some hundred processes: let them keep what they compiled, whatever the caller's shell says.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test test-itc drills chaos fuzz bench conformance bench-selection bench-metrics bench-bridges reference check lint types rooms unit packages walk screenshots \
  translations clean

demo: $(VENV)/.demo
	$(BIN)/evenload demo $(ARGS)

# Four workers on two cores: some tests wait for others' clocks. With six the suite takes longer, since each compiles the
# same statements anew. What is collected once before leaves its byte code for all of them.
test: packages $(VENV)/.test
	$(MAKE) check
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null || true # what is wrong is told by the next line
	$(BIN)/python -m pytest -n 4 $(ARGS)

# The integration cases of BENEFFICE, FLEXMETER and TwinERGY, by name (docs/reference/integration-tests.md). They are part
# of `make test`, too.
test-itc: packages $(VENV)/.test
	$(BIN)/python -m pytest -v --no-header tests/itc $(ARGS)

# What is slow (tests/conftest.py leaves it out of `make test`): every screen in a real browser; then, mostly waiting,
# processes killed, power cut, clocks set, disks full, the demo and demos that lie, a bare install, a season, and a minute
# of guided fuzzing.
drills: packages $(VENV)/.test
	$(BIN)/python -m pytest -n 2 tests/browser $(ARGS)
	$(BIN)/python -m pytest -n 4 --drills --ignore=tests/browser $(ARGS)

# The same trouble from many seeds: make chaos ARGS='--runs 200'.
chaos: packages $(VENV)/.test
	PYTHONPATH=.:tests $(BIN)/python -m drills.chaos $(ARGS)

# Every schema-valid message at every stage, with odd values and restarts in between, for ten minutes a side; and ten
# minutes of inputs guided by what code they reach (pytest leaves their file to the drills unless it is named).
fuzz: $(VENV)/.test
	EVENLOAD_FUZZ_SECONDS=$${EVENLOAD_FUZZ_SECONDS:-600} $(BIN)/python -m pytest tests/fuzz/test_*.py $(ARGS)

# How fast it is, beside openleadr on the same machine; writes build/bench.json and docs/explanation/performance.md (some
# minutes; ARGS=--quick for a short look that leaves the page alone).
bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(ARGS)

# Which rules of OpenADR 2.0b our VTN and openleadr's keep; writes build/conformance.json and docs/reference/conformance.md
# (a quarter of an hour, most of it waiting).
conformance: $(VENV)/.test
	$(BIN)/python -m docs.reference.measure_conformance $(ARGS)

# How fast and how good the choice of VENs is, for 100,000 homes.
bench-selection: $(VENV)/.test
	$(BIN)/python -m benchmarks.selection $(ARGS)

# How far baselines are off where nothing was ordered (one home, and pools of 10, 100 and 1,000), how often homes look odd
# by chance, and what an evaluation costs for 1,000 to 100,000 VENs; writes build/bench-metrics.json (half an hour).
bench-metrics: packages $(VENV)/.test
	$(BIN)/python -m benchmarks.placebo_study
	$(BIN)/python -m benchmarks.gaming_rate
	PYTHONPATH=.:tests $(BIN)/python -m benchmarks.evaluation_cost $(ARGS)

# What of the meters' messages a gateway stores, behind a real Mosquitto: sessions, bursts, and how many in a second, beside
# a bare subscriber and an older build; writes build/bench-bridges.json (a quarter of an hour; ARGS=--quick for a short look).
bench-bridges: packages $(VENV)/.test
	$(BIN)/python -m benchmarks.bridges $(ARGS)

# The pages of docs/reference that say what the code says: commands, settings and the rules of OpenADR.
reference: $(VENV)/.test
	$(BIN)/python -m docs.reference.generate

# Everything that does not run the program.
check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The servers and the browser that tests start by themselves. Without root they are left to the user, and the tests say
# what is missing.
packages:
	@missing=""; \
	for program in mosquitto:mosquitto xmlsec1:xmlsec1 pg_ctl:postgresql chromium-headless-shell:chromium-headless-shell faketime:faketime; do \
	  command -v $${program%%:*} >/dev/null 2>&1 || ls /usr/sbin/$${program%%:*} /usr/lib/postgresql/*/bin/$${program%%:*} 2>/dev/null | grep -q . \
	    || missing="$$missing $${program##*:}"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
	  echo "Tests that need them are skipped without:$$missing (install with your package manager)"; \
	fi

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.demo

# The part of `make drills` that walks every screen of the console in a real browser, with accessibility checks.
walk: packages $(VENV)/.test
	$(BIN)/python -m pytest tests/browser $(ARGS)

# The pictures of the console in docs/screenshots, from a world of their own. Needs Chromium.
screenshots: packages $(VENV)/.test
	$(BIN)/python tests/browser/screenshots.py

# The texts of all pages, for translators: build/messages.pot. What comes back goes to
# TRANSLATIONS/LOCALE/LC_MESSAGES/messages.po of its section, and `pybabel compile` makes the .mo that servers read.
translations: $(VENV)/.test
	@mkdir -p build
	$(BIN)/pybabel -q extract -F pyproject.toml --project evenload --sort-by-file -o build/messages.pot \
	  web vtn/console aggregator evenload

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
