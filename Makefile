PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check clean

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/accelsim compare models/resnet20-cifar10.dual spatial-16x16 winograd-16x16 -o demo-out
	$(BIN)/accelsim validate models/resnet20-cifar10.dual spatial-16x16 winograd-16x16

test: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict accelsim
	$(BIN)/python -m pytest -m 'not big_data and not slow'

clean:
	rm -rf $(VENV) demo-out build dist
