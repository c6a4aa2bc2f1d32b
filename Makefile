# Two commands do all the set-up: `make quickstart` (the main job on real scans, no download) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/quickstart

.PHONY: quickstart test test-all lint bench-peers clean

quickstart: .venv/installed
	$(BIN)/sslx pretrain --config configs/simclr.py:digits --workdir $(RUN)
	$(BIN)/sslx evaluate --workdir $(RUN)
	$(BIN)/sslx report --workdir $(RUN)

test: .venv/installed-dev lint
	$(BIN)/python -m pytest -m "not slow"

test-all: .venv/installed-dev lint
	$(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .

# The libraries that experiments/ compares with, PyTorch's among them, in an environment of their own.
bench-peers: .venv-peers/installed

clean:
	rm -rf .venv .venv-peers runs build *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv-peers/installed: experiments/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --requirement $<
	touch $@
