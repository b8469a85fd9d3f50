# make setup   .venv with everything at pinned versions, and .venv/bin/nbguard
# make demo    JupyterLab on examples/quickstart.ipynb, with a Hub of honest and hostile models on this machine
#              (HEADLESS=1: run the same notebook without a browser and print the reports)
# make test    every test, in a real browser too
# make lint    ruff and mypy --strict
# make bench   the measurements of docs/performance.md
# make fuzz    every reader of hostile bytes, for SECONDS=600
# make realworld   model files that packages on PyPI ship, judged beside four other scanners

.DEFAULT_GOAL := help
PY := .venv/bin/python
TESTS ?= tests

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

setup:
	@tools/setup.sh

demo: setup
	@$(PY) tools/demo.py $(if $(HEADLESS),--headless)

test:
	@tools/setup.sh browser
	@tools/test.sh $(TESTS)

lint: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

bench:
	@tools/setup.sh $(if $(NO_PEERS),,peers)
	@$(PY) -m bench.run $(BENCH)

fuzz:
	@tools/setup.sh fuzz
	@$(PY) -m fuzz.run --seconds $(or $(SECONDS),600) $(if $(ONLY),--only $(ONLY))

realworld:
	@tools/setup.sh $(if $(NO_PEERS),,peers)
	@$(PY) -m bench.realworld $(if $(NO_PEERS),--no-peers)

screenshots: setup
	@tools/setup.sh browser
	@$(PY) tools/screenshots.py

clean:
	rm -rf .demo .coverage coverage.xml .pytest_cache .mypy_cache .ruff_cache build dist bench/results

.PHONY: help setup demo test lint bench fuzz realworld screenshots clean
