# `make demo` and `make test` work in a fresh clone: they create .venv and install into it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
RECIPE := setup.cfg pyproject.toml constraints.txt requirements-demo.txt requirements-test.txt
# `make HASHED=yes demo`, with Python 3.11: every file is compared with the hashes in requirements-*.txt before it is
# installed. They have torch's CPU build for Linux on x86-64; a package index without it fails.
HASHED ?=
PIP_HASHED := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --requirement

.PHONY: demo test coverage audit oldest lint bench fuzz wheel clean

demo: $(VENV)/installed
	$(BIN)/bcd demo out/

# One process a core; a file's tests share their fixtures.
test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

# Every line and branch of the container and the entropy coding, by the tests that are about them.
COVERED := bcdcodec.container,bcdcodec.entropy
COVERING := limits decoding_limits chunk_order table_limits entropy_limits repair_limits failing_disks cut_files container \
    container_refusals audio_chunk av1_units av1_headers pts strict vectors entropy context learned_content repair \
    random_access
coverage: $(VENV)/installed-test
	mkdir -p out
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run --branch --source=$(COVERED) --data-file=out/coverage \
	    -m pytest -q -k 'not command and not keeps_going and not flipped and not unseen' $(COVERING:%=tests/test_%.py)
	$(BIN)/python -m coverage report --data-file=out/coverage --show-missing --skip-covered --fail-under=100

# Known vulnerabilities of what `make test` installs. It asks PyPI, so it is no part of `make test`; a package that PyPI
# does not answer for is a failure.
audit: $(BIN)/python
	$(PIP) pip-audit
	$(BIN)/pip-audit --requirement requirements-test.txt --require-hashes --disable-pip --strict

# The format under the oldest libraries that setup.cfg allows, without torch: the same bytes, the same codes.
OLD := out/oldest/bin/python
OLD_LIBRARIES := numpy==1.26.0 constriction==0.4.0 msgpack==1.0.8 safetensors==0.4.3
FORMAT_TESTS := decoding_limits entropy context learned_content container container_refusals vectors packets pts limits chunk_order \
    table_limits entropy_limits repair_limits failing_disks cut_files random_access
oldest:
	$(PYTHON) -m venv out/oldest
	$(OLD) -m pip --disable-pip-version-check install --quiet $(OLD_LIBRARIES) pytest
	PYTHONPATH=$(CURDIR) $(OLD) -m pytest -q --noconftest -p no:cacheprovider -k 'not unseen' $(FORMAT_TESTS:%=tests/test_%.py)

lint: $(VENV)/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# A few minutes on rendered clips; prints the ratios to the accepted figures in benchmarks/baseline.json.
bench: $(VENV)/installed-test
	$(BIN)/python -m bcdcodec.benchmarks short --out out/short --jobs 2

# Coverage-guided fuzzing, SECONDS for each target of tests/fuzz/targets.py; findings and corpus in out/fuzz.
SECONDS ?= 60
fuzz: $(VENV)/installed-test
	$(PIP) --no-build-isolation --editable '.[fuzz]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(TARGETS)

wheel: $(VENV)/installed-test
	rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf $(VENV) build dist *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The package is built without isolation, so that the setuptools pinned in constraints.txt is used.
$(VENV)/installed: $(RECIPE) | $(BIN)/python
	$(if $(HASHED),$(PIP_HASHED) requirements-demo.txt,$(PIP) setuptools)
	$(PIP) --no-build-isolation $(if $(HASHED),--no-deps) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(if $(HASHED),$(PIP_HASHED) requirements-test.txt,$(PIP) --no-build-isolation --editable '.[test]')
	touch $@
