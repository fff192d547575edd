# Everything from nothing: Python 3.11 or newer and make are all that has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test coverage lint format clean

train: $(VENV)/installed
	$(BIN)/cnncli train --model lenet.yaml --epochs 20

test: $(VENV)/tested
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

# lines that the suite reaches with kernels as plain Python: half an hour
coverage: $(VENV)/tested
	rm -rf build/coverage
	NUMBA_DISABLE_JIT=1 PYTHONPATH=tests $(BIN)/python -m coverage run -m pytest -p plain_python -n auto --dist loadfile
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cnncli needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/tested: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ $(VENV)/installed
