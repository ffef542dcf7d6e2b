# Every target sets up what it needs in .venv; nothing has to be installed by hand but Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-oldest test-python test-containers lint types docs audit fuzz conformance bench \
  bench-convert bench-validate bench-matrix bench-serve bench-report matrix clean

demo: .venv/demo.stamp
	@$(BIN)/python -m xport.models.demo --output demo

test: .venv/dev.stamp
	@echo "== tests (about three quarters of an hour on two cores; --slow=all runs everything)"
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --slow=rotating $(ARGS)

# What depends on versions most: every model of the zoo to every target, round trips, proofs, commands, servers, validation.
REDUCED := tests/test_zoo.py tests/convert/test_laps.py tests/artifacts tests/cli tests/protocol tests/serve/test_http.py \
  tests/validate/test_validate_formats.py tests/validate/test_report_page.py tests/test_platforms.py
TOOLS := hypothesis jsonschema psutil pytest pytest-timeout pytest-xdist 'tritonclient[http]'

# The lower end of every range in pyproject.toml, in an environment of its own (.ci/oldest.py).
test-oldest: build/oldest/stamp
	@echo "== a reduced selection of tests at the lower end of every range"
	@build/oldest/venv/bin/python -m pytest -n 2 --dist loadgroup $(REDUCED) $(ARGS)

# Another Python, in an environment of its own: make test-python PYTHON=python3.12; TORCH=2.14.1 takes another torch.
test-python: build/$(notdir $(PYTHON))/stamp
	@echo "== a reduced selection of tests on $(PYTHON)"
	@build/$(notdir $(PYTHON))/venv/bin/python -m pytest -n 2 --dist loadgroup $(REDUCED) $(ARGS)

build/%/stamp: pyproject.toml constraints.txt .ci/oldest.py
	@echo "== creating build/$*/venv with $$($(PYTHON) --version)"
	@mkdir -p build/$* && $(PYTHON) -m venv --clear build/$*/venv
	@build/$*/venv/bin/python -m pip --disable-pip-version-check --quiet install packaging
	@if [ $* = oldest ]; then build/$*/venv/bin/python .ci/oldest.py; \
	  else sed 's/^torch==.*/torch==$(or $(TORCH),$(shell sed -n 's/^torch==//p' constraints.txt))/' constraints.txt; fi > build/$*/constraints.txt
	@echo "== installing $$(grep '^torch==' build/$*/constraints.txt), TensorFlow and the rest (torch may come with CUDA: 3 GB to fetch, 7 GB of disk)"
	@build/$*/venv/bin/python -m pip --disable-pip-version-check --quiet install -c build/$*/constraints.txt \
	  -e '.[cpu,demo,report,serve]' $(TOOLS)
	@touch $@

# Builds and runs the container bundles for real; needs root on Debian 12 and says why where it cannot.
test-containers: .venv/dev.stamp
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v buildah >/dev/null; then \
	  echo "== installing podman, buildah, runc, debootstrap"; { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
	  podman buildah runc debootstrap iptables netavark aardvark-dns slirp4netns >/dev/null; } || echo "they could not be installed"; fi
	@XPORT_TEST_CONTAINERS=1 $(BIN)/python -m pytest tests/containers -p no:xdist -rs --slow=all $(ARGS) || [ $$? = 5 ]  # all skipped

lint: .venv/dev.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# Once more as if on Windows, whose modules lack what POSIX has.
types: .venv/dev.stamp
	@$(BIN)/mypy
	@$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32

# Licences of everything installed, and known vulnerabilities; the latter are skipped where nobody can be asked.
audit: .venv/dev.stamp
	@$(BIN)/python .ci/licences.py
	@$(BIN)/python .ci/vulnerabilities.py

# Coverage-guided fuzzing of our own readers, for so many seconds; findings go to fuzz-findings/.
SECONDS ?= 600
fuzz: .venv/fuzz.stamp
	@$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(ARGS)

# The site of docs/, with warnings as errors; pages open from the disk, the search wants `python -m http.server -d build/site`.
docs: .venv/docs.stamp
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

conformance: .venv/dev.stamp
	@$(BIN)/python -W ignore tests/conformance/report.py --write docs/operators.md

# Every format into every other over the models (an hour and a half); goes on where an earlier run stopped.
matrix: .venv/dev.stamp
	@$(BIN)/python benchmarks/matrix.py $(ARGS)

# Every figure of the documentation, in order (most of a day on two cores); `ARGS=--list` says what and how long. The
# parts are targets of their own. Other engines get environments of their own under build/field, from the registry.
bench: .venv/dev.stamp
	@$(BIN)/python benchmarks/steps.py $(ARGS)

bench-convert bench-validate bench-matrix bench-serve bench-report: bench-%: .venv/dev.stamp
	@$(BIN)/python benchmarks/steps.py --part $* $(ARGS)

.venv/bin/python:
	@echo "== creating .venv"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "xport needs Python 3.11 or newer, found " + sys.version.split()[0] + "; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@$(PYTHON) -m venv .venv

.venv/%.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "== installing xport and its runtimes into .venv (torch and TensorFlow are large: minutes the first time)"
	@$(PIP) install -c constraints.txt -e '.[cpu,$*]'
	@if [ $* = dev ]; then $(PIP) install --no-deps tensorflow-serving-api==2.21.0; fi  # it would pull all of tensorflow
	@touch $@

clean:
	rm -rf .venv demo build dist *.egg-info
