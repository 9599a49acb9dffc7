# The book, its tests and its tools. Needs Python 3.11 or newer, make and git; everything else is set up here.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
HTML := _build/html
NOTEBOOKS := $(sort $(wildcard chapters/*.ipynb))
MODULES := web/node_modules

# The virtual environment's own node and npm come first.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# No progress bars in recorded outputs. One BLAS thread: tests run side by side, and small matrices gain nothing from two.
book test test-llm notebooks pdf: export TQDM_DISABLE := 1
book test test-llm experiments notebooks pdf: export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help setup assets book serve lint test test-llm bench experiments lab notebooks picture pdf clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# Stamps: each step below runs again only when what it was made from has changed.
$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %s; try make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(MODULES)/installed: web/package-lock.json web/.npmrc | $(VENV)/installed
	cd web && npm ci --silent
	touch $@

# What a page of the book loads, and no more (the packages weigh 150 MB).
web/assets/.ready: $(MODULES)/installed Makefile
	rm -rf web/assets
	mkdir -p web/assets/widgets web/assets/mathjax/output/chtml web/assets/mathjax/input/tex web/assets/mathjax/sre/mathmaps
	cp $(MODULES)/requirejs/require.js web/assets/widgets/
	cp $(addprefix $(MODULES)/@jupyter-widgets/html-manager/dist/,embed-amd.js *.woff2 *.woff *.ttf *.eot *.svg) web/assets/widgets/
	cp $(MODULES)/mathjax/es5/tex-chtml.js web/assets/mathjax/
	cp -R $(MODULES)/mathjax/es5/output/chtml/fonts web/assets/mathjax/output/chtml/
	cp -R $(MODULES)/mathjax/es5/input/tex/extensions web/assets/mathjax/input/tex/
	cp -R $(MODULES)/mathjax/es5/a11y web/assets/mathjax/
	cp $(addprefix $(MODULES)/mathjax/es5/sre/mathmaps/,base.json en.json) web/assets/mathjax/sre/mathmaps/
	touch $@

setup: $(VENV)/installed  ## only make the virtual environment

assets: web/assets/.ready  ## only fetch the front-end files the book serves itself

# A clean forced build: a warm one hides warnings.
book: $(VENV)/installed web/assets/.ready  ## build the book
	rm -rf _build
	$(BIN)/jupyter-book build -W -n --keep-going .
	@echo
	@echo "The book is built. Open $(HTML)/index.html in a browser, or run: make serve"

$(HTML)/index.html:
	$(MAKE) book

serve: $(HTML)/index.html  ## show the built book on 127.0.0.1
	@echo "Open http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(HTML) $(PORT)

# What takes seconds comes first. Then the build, so that the browser tests see this tree; RMT_BOOK_REQUIRED: a missing
# book fails.
test: lint book  ## check the source, build the book and run every test
	RMT_BOOK_REQUIRED=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations=15 --nbval-lax --doctest-modules rmt_lib tests $(NOTEBOOKS)

lint: $(VENV)/installed  ## check style, form and types of the source
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed-llm: rmt_experiments/llm/requirements.txt $(VENV)/installed
	$(BIN)/python -m pip install --quiet -r requirements.txt -r rmt_experiments/llm/requirements.txt
	touch $@

# RMT_LLM_REQUIRED: a missing package then fails, where make test skips.
test-llm: $(VENV)/installed-llm  ## install what the language models need (1 GB) and run their tests
	RMT_LLM_REQUIRED=1 $(BIN)/python -m pytest tests/test_language_models.py tests/test_figure_9.py

bench: $(VENV)/installed  ## run the benchmarks
	$(BIN)/python -m pytest -s benchmarks --benchmark-only --benchmark-columns=min,median,rounds

WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)
experiments: $(VENV)/installed  ## run the stored experiments again, or those of NAMES, on WORKERS or a Dask SCHEDULER
	$(BIN)/python -m rmt_experiments $(if $(SCHEDULER),--scheduler $(SCHEDULER),--workers $(WORKERS)) $(NAMES)

lab: $(VENV)/installed  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab chapters

notebooks: $(VENV)/installed  ## run the notebooks and store them in normal form
	$(BIN)/python tests/refresh_notebooks.py $(NOTEBOOKS)

picture: $(VENV)/installed  ## draw the picture of the README again
	$(BIN)/python web/draw_result.py

pdf: $(VENV)/installed web/assets/.ready  ## build a PDF (needs LaTeX)
	@command -v latexmk >/dev/null && command -v xelatex >/dev/null || { echo "make pdf needs LaTeX (Debian: latexmk texlive-xetex texlive-latex-extra texlive-fonts-extra tex-gyre fonts-freefont-otf xindy); neither make book nor make test does."; exit 1; }
	$(BIN)/jupyter-book build --builder pdflatex .
	@echo "The printed book is _build/latex/book.pdf"

clean:  ## remove everything that was made here
	rm -rf $(VENV) _build build web/node_modules web/assets *.egg-info .pytest_cache .hypothesis .benchmarks .mypy_cache .ruff_cache
