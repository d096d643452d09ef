# Each target is one line of what it does. `make review` and `make test` are the two that matter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: review test lines lab slides checklist site notebooks bench clean

review: $(STAMP)  ## the whole series on the built-in example (or ARGS="--model M --pairs F"), as build/review/index.html
	$(BIN)/python -m stlib review --out build/review $(ARGS)

test: $(STAMP)  ## style, types, every test, and the notebooks through nbval
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadscope --nbval --nbval-sanitize-with tests/notebooks/nbval.cfg $(ARGS)

lines:  ## how long the core is; fails above its limits
	$(PYTHON) tools/lines.py

lab: $(STAMP)  ## JupyterLab on the series, at its first lesson
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks --LabApp.default_url=/lab/tree/00_first_vector.ipynb

slides: $(STAMP)  ## slides of the lessons and of the series, each one file, as slides/*.html
	$(BIN)/python tools/make_slides.py

checklist: $(STAMP)  ## the nine decisions on one page to print, as build/checklist.html
	$(BIN)/python tools/make_checklist.py

site: $(STAMP)  ## lessons, guides, claims and API as one static site, as build/site/index.html
	$(BIN)/python tools/make_site.py

notebooks: $(STAMP)  ## run the notebooks and store them with their outputs
	$(BIN)/python tools/store_notebooks.py

bench: $(STAMP)  ## measure against sentence-transformers, print, and write results/speed/
	$(BIN)/python benchmarks/speed.py

clean:  ## remove what was built
	rm -rf build dist slides .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Python 3.11 or newer; the exact versions that were tested, then the package itself, so that edits take effect at once.
$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
