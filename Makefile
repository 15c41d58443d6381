# What README's commands do: create the environment once, then call csrec or the checks in it.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# What is compiled is kept: without, each of the many kernels and processes would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: report test types tests api clean

report: $(VENV)/installed
	$(BIN)/csrec report --suite quick

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/csrec clean --check
	$(MAKE) --jobs=2 types tests

types:
	$(BIN)/mypy

# With BRANCHES=1, as in CI, they end with a table of the branches that they take, and take half as long again.
tests:
	$(BIN)/pytest $(if $(BRANCHES),--cov=csrec_core --cov-branch --cov-report=term:skip-covered)

# The reference of the public names, from their docstrings, as a static site.
api: $(VENV)/installed
	$(BIN)/pdoc --docformat numpy -o api csrec_core.frames csrec_core.data.log csrec_core.effect.design csrec_core.effect.result csrec_core.errors

$(VENV)/installed: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -c "import sys; sys.version_info >= (3, 11, 5) or sys.exit('csrec needs Python 3.11.5 or later')"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
