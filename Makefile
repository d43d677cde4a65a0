# Needs make and any Python from 3.11 on; everything else is put into .venv by itself.
#   make run      start everything (PORT, FLOWWATCH_DATA, …: README)
#   make test     all tests on a PostgreSQL of their own      ARGS="-k name" for some; without ARGS the
#                 Python client's tests too
#   make client-test  the Python client's tests on every Python from 3.10 to 3.13 that is found here, its
#                 coverage, and its wheel installed alone      ARGS="--versions 3.10,3.13 -k name"
#   make check    format, lint, types, migrations, templates, imports, known vulnerabilities
#                 (make -k check goes on after a failure; make check-lint and so on are its parts)
#   make bench    measures, and renews the tables of docs/performance.md      ARGS="pages --sizes 100000"
#   make faults   kills, stops and overloads real processes, and checks that no acknowledged execution
#                 is lost and that its tests would see faults: the figures of docs/reliability.md
#                 (GROUP=web, alerts, …: one group, each under an hour; ended at any moment it
#                 goes on where it was; QUICK=1: a little of each, nothing is written)
#   make client-faults  the Python client against bad servers and full disks, killed 100 times, and
#                 whether the tests would see faults (QUICK=1: killed 10 times)
#   make shots    screenshots of every page into shots/
#   make lock     renew requirements/*.txt from pyproject.toml
#   make client-rules  renew the Python client's copy of the rules for secrets

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
ARGS ?=

# For checks that only load settings: no data folder, no database.
SETTINGS_ONLY := SECRET_KEY=only-to-load-the-settings-0123456789abcdefghijklmnopq \
	DATABASE_URL=postgresql://nobody@localhost:1/none \
	MIGRATION_DATABASE_URL=postgresql://owner@localhost:1/none \
	FRONTEND_URL=https://flowwatch.example.com ALLOWED_HOSTS=flowwatch.example.com

.PHONY: client-faults client-rules client-test run test faults check bench shots lock format clean check-format check-lint check-types \
	check-imports check-templates check-deploy check-migrations check-vulnerabilities
.DEFAULT_GOAL := run

run: $(RUN_STAMP)
	@exec $(PY) manage.py run --end-with-parent $(ARGS)

# The tests start hundreds of processes; without bytecode each would compile all our modules anew.
test faults: export PYTHONDONTWRITEBYTECODE =
test: $(DEV_STAMP)
	$(PY) -m pytest -n 2 $(ARGS)
	$(if $(ARGS),,cd client && ../$(PY) -m pytest -n 2)

client-test: $(DEV_STAMP)
	$(PY) tools/test_client.py $(ARGS)

check: check-format check-lint check-types check-imports check-templates check-deploy \
	check-migrations check-vulnerabilities

check-format: $(DEV_STAMP)
	$(VENV)/bin/ruff format --check .
check-lint: $(DEV_STAMP)
	$(VENV)/bin/ruff check .
check-types: $(DEV_STAMP)
	$(VENV)/bin/mypy
	cd client && ../$(VENV)/bin/mypy
check-imports: $(DEV_STAMP)
	$(VENV)/bin/lint-imports
check-templates: $(DEV_STAMP)
	$(VENV)/bin/djlint templates --lint --quiet
check-deploy: $(DEV_STAMP)
	$(SETTINGS_ONLY) $(PY) manage.py check --deploy --fail-level WARNING
check-migrations: $(DEV_STAMP)
	$(SETTINGS_ONLY) $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
check-vulnerabilities: $(DEV_STAMP)
	$(PY) tools/check_vulnerabilities.py

bench: $(DEV_STAMP)
	$(PY) -m tests.bench --record $(ARGS)

faults: $(DEV_STAMP)
	$(PY) -m tests.faults $(GROUP) $(if $(QUICK),--quick) $(ARGS)

client-faults: $(DEV_STAMP)
	cd client && FAULT_KILLS=$(if $(QUICK),10,100) ../$(PY) -m pytest tests/faults $(ARGS)

shots: $(DEV_STAMP)
	$(PY) -m tests.browser.shots $(ARGS)

format: $(DEV_STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: $(DEV_STAMP)
	$(PIP) install pip-tools
	sh tools/lock.sh

client-rules:
	cp monitoring/recording/secret_rules.py client/src/flowwatch_client/secret_rules.py

clean:
	rm -rf $(VENV)

# The environment is made once; the stamps make a second start quick.
$(PY):
	@sh tools/make_environment.sh $(VENV)

$(RUN_STAMP): requirements/run.txt | $(PY)
	@echo "Installing what Flowwatch needs into $(VENV) …" >&2
	@$(PIP) install --require-hashes --requirement requirements/run.txt
	@touch $@

$(DEV_STAMP): requirements/run.txt requirements/dev.txt | $(PY)
	@echo "Installing what tests and checks need into $(VENV) …" >&2
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $(RUN_STAMP) $@
