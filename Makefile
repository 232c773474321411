# Two doors: `make lab` opens the course, `make test` checks everything. `make help` lists the rest.
#
# Variables:
#   PYTHON    the Python that makes .venv (3.11, 3.12 or 3.13)
#   PIP_ARGS  more arguments for every `pip install`, such as an index of your own
#   LAB_ARGS  more arguments for JupyterLab, such as --no-browser or --port=8890
#   STAGES    the stages of `make test` to run instead: lint unit notebooks exercises, and those of `make test-long`:
#             slow appendices workers browser site
#   REPOSITORY  the address of the course for the site, instead of the one in docs/site/address.toml
#   LIVE      1 lets `make site` put a model beside the page on which visitors type a sentence of their own, 120 MB
#   ONLY      the notebooks of `make notebooks`, `make stable` and `make report`, all of them when empty
#   HOLD      packages that `make newest` leaves at their pins, such as torch
#   DECKS     the paths of `make slides`, by default workshop
#   OUT, KIT  folder that `make kit` makes, and that `make kit-test` tries; KIT_ARGS more for it, see tools/kit.py

PYTHON ?= python3
PIP_ARGS ?=
LAB_ARGS ?=
STAGES ?=
ONLY ?=
REPOSITORY ?=
LIVE ?=
OUT ?=
KIT ?=
KIT_ARGS ?=
DECKS ?= workshop
HOLD ?=

VENV := .venv
PY := $(VENV)/bin/python
COURSE := $(VENV)/bin/several-tokens
READY := $(VENV)/.ready-lab
READY_TEST := $(VENV)/.ready-test
READY_SITE := $(VENV)/.ready-site
READY_LIVE := $(VENV)/.ready-live
STAGE := sh tools/stage.sh

# The first lesson of the reader's own workbook; as it ships where a workbook could not be made.
FIRST := workbook/00_start_here.ipynb
SHIPPED := notebooks/00_start_here.ipynb

# Everything is there after the set-up: nothing below may ask a model hub.
OFFLINE := HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help lab test test-long setup setup-test models notebooks stable site newest report kit kit-test slides clean distclean

help:
	@echo "make lab        set up, fetch the default model, open JupyterLab at the first lesson of your workbook"
	@echo "make test       set up, then check code, lessons and exercises; STAGES='lint unit' runs some of it"
	@echo "make test-long  what takes longer: appendices, solutions, workers, the lessons in a browser, the site"
	@echo "make notebooks  run the notebooks again in place and clean them; ONLY=notebooks/00_start_here.ipynb for one"
	@echo "make stable     compare the notebooks three times, on one thread, and on AVX2 kernels"
	@echo "make site       build the site of the course into build/site, offline; LIVE=1 puts a model on it"
	@echo "make newest     run the unit tests against the newest releases of the pinned packages"
	@echo "make report     run the lessons and write down whether their numbers are the committed ones: build/report.json"
	@echo "make kit        write a kit for a room without network; OUT=FOLDER, KIT_ARGS='--platform windows-x86_64'"
	@echo "make kit-test   install from a kit with the network cut and run the first cells of lesson 00; KIT=FOLDER"
	@echo "make slides     write the workshop as slides, with notes, into build/slides; reveal.js comes with npm"
	@echo "make clean      remove caches and build output; make distclean removes .venv as well"

# Python and pip -------------------------------------------------------------------------------------------------

$(VENV)/.ready-python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "There is no '$(PYTHON)' here. Install Python 3.11, 3.12 or 3.13, or name yours: make lab PYTHON=/path/to/python3"; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "'$(PYTHON)' is $$($(PYTHON) --version 2>&1); the course needs Python 3.11, 3.12 or 3.13."; \
	  echo "Name one of these: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'from course_utils.models import check; check.refuse_platform()'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv. Then remove $(VENV) and try again."; \
	  exit 1; }
	@touch $@

$(READY): pyproject.toml $(VENV)/.ready-python
	@$(STAGE) "installing the packages (about 2 GB on disk)" $(PY) -m pip install $(PIP_ARGS) -e .
	@touch $@

$(READY_TEST): pyproject.toml $(VENV)/.ready-python
	@$(STAGE) "installing the packages (about 2 GB on disk)" $(PY) -m pip install $(PIP_ARGS) -e ".[test]"
	@touch $(READY) $@

$(READY_SITE): pyproject.toml $(VENV)/.ready-python
	@$(STAGE) "installing the packages and what builds the site" $(PY) -m pip install $(PIP_ARGS) -e ".[site]"
	@touch $(READY) $@

$(READY_LIVE): $(READY_SITE)
	@$(STAGE) "installing what writes a model for browsers" $(PY) -m pip install $(PIP_ARGS) -e ".[site,live]"
	@touch $@

setup: $(READY)
setup-test: $(READY_TEST)

# The two doors --------------------------------------------------------------------------------------------------

lab: $(READY)
	@$(STAGE) "fetching and verifying the default model" $(COURSE) fetch smollm2
	@$(COURSE) check || echo "You can look around, but what failed above may stop a lesson."
	@$(COURSE) workbook || echo "What failed above is left as it was; the lessons themselves are in notebooks/."
	$(PY) -m jupyter lab --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --ServerApp.root_dir="$(CURDIR)" $(LAB_ARGS) \
	  --LabApp.default_url=/lab/tree/$$(test -f $(FIRST) && echo $(FIRST) || echo $(SHIPPED))

test: $(READY_TEST) models
	@$(OFFLINE) $(PY) tools/run_tests.py $(STAGES)

test-long: $(READY_TEST) models
	@$(OFFLINE) $(PY) tools/run_tests.py --long

models: $(READY_TEST)
	@$(STAGE) "fetching and verifying SmolLM2" $(COURSE) fetch smollm2
	@$(STAGE) "fetching and verifying Gemma 3" $(COURSE) fetch gemma3
	@$(STAGE) "fetching and verifying MiniLM, the teacher" $(COURSE) fetch minilm

# The notebooks --------------------------------------------------------------------------------------------------

notebooks: $(READY_TEST) models
	@$(OFFLINE) $(PY) tools/run_notebooks.py $(ONLY)

stable: $(READY_TEST) models
	@$(OFFLINE) $(PY) tools/stability.py $(ONLY)

# The site ---------------------------------------------------------------------------------------------------------

site: $(READY_SITE) $(if $(LIVE),$(READY_LIVE))
	@$(OFFLINE) $(PY) tools/build_site.py --repository "$(REPOSITORY)"
ifneq ($(LIVE),)
	@$(STAGE) "fetching and verifying the default model" $(COURSE) fetch smollm2
	@$(OFFLINE) $(PY) tools/live.py
endif

newest: $(VENV)/.ready-python
	@$(OFFLINE) $(PY) tools/newest.py --pip-args "$(PIP_ARGS)" --hold $(HOLD)

# For classes, and for other machines -------------------------------------------------------------------------------

report: $(READY_TEST) models
	@$(OFFLINE) $(PY) tools/report.py $(ONLY)

kit: $(READY)
	@test -n "$(OUT)" || { echo "Name the folder of the kit: make kit OUT=FOLDER"; exit 1; }
	@$(PY) tools/kit.py make --out "$(OUT)" --pip-args "$(PIP_ARGS)" $(KIT_ARGS)

kit-test: $(READY)
	@test -n "$(KIT)" || { echo "Name the folder of the kit: make kit-test KIT=FOLDER"; exit 1; }
	@$(PY) tools/kit.py test "$(KIT)"

slides: $(READY_SITE)
	@$(PY) tools/slides.py $(DECKS)

clean:
	rm -rf build .pytest_cache .ruff_cache .import_linter_cache several_tokens.egg-info
	find course_utils tests tools notebooks benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune \
	  -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VENV)-newest
