# `make study` and `make test` set everything up on a fresh machine; a second call skips the set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export JUPYTER_PLATFORM_DIRS := 1
# what is imported is compiled once; where bytecode may not be written, each process compiles PyTorch again (12 s)
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup converters emulator study test test-long check support browser docs test-docs test-browser test-desktop test-pi test-micro test-android test-deploy places notebooks readme lab clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): settings.ini setup.py constraints.txt tools/torchvision_cpu.py tools/git_hooks.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LightVision needs Python 3.11 or newer; call: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ".[dev,weights]"
	$(BIN)/python tools/torchvision_cpu.py
	$(BIN)/python tools/git_hooks.py
	@touch $@

setup: $(READY) ## create .venv with everything pinned (the others do this themselves)

LITERT := .venv-litert
$(LITERT)/.ready: converters-constraints.txt
	$(PYTHON) -m venv $(LITERT)
	$(LITERT)/bin/python -m pip install --quiet --constraint converters-constraints.txt torch litert-torch ai-edge-litert
	@touch $@

converters: $(LITERT)/.ready ## build the environment that writes .tflite files (its dependencies clash with ours)

emulator: $(READY) ## fetch the emulated ARM system for instruction counts (Debian 12)
	$(BIN)/python -c "from lightvision.measure.instructions import prepare_emulator; print(prepare_emulator())"

study: $(READY) ## run the smoke study (synthetic data, a few minutes) and write its report
	$(BIN)/lightvision study smoke

test: check ## everything CI checks: generated files, the library notebooks, whole-program tests
	OMP_NUM_THREADS=1 $(BIN)/python tools/test_notebooks.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 1800 --durations 15 -m 'not long' tests

test-long: $(READY) ## what make test leaves out: more kinds of network, more moments to be killed at (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 1800 --durations 15 -m long tests

check: $(READY) ## are lightvision/, README.md and the notebooks what their sources say?
	$(BIN)/python tools/check_generated.py
	$(BIN)/python tools/check_cells.py

support: $(READY) ## try the networks of our table through every step (an hour), for the table in nbs/supported.ipynb
	$(BIN)/lightvision support --out runs/support --workers 2
	cp runs/support/support.csv nbs/results/support.csv
	$(BIN)/python tools/readme.py

browser: $(READY) ## make the browser page in build/browser, with all of zoo/ (needs npm)
	$(BIN)/python deploy/browser/build.py

test-browser: $(READY) ## drive the browser page in headless Chromium (needs npm and chromium)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt playwright
	$(BIN)/python -m pytest -q -rs -s deploy/browser

test-pi: $(READY) ## run the zoo in an emulated 64-bit Raspberry Pi OS (Debian 12), and the folder watch
	$(BIN)/python -m pytest -q -rs -s deploy/raspberry_pi

docs: $(READY) ## make the website in _docs, offline but for npm, once (the demo and MathJax)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	$(BIN)/python docs/build.py

test-docs: docs ## crawl the website and drive it in headless Chromium (needs chromium)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt playwright
	$(BIN)/python -m pytest -q -rs -s docs

test-micro: $(READY) ## run a network in TensorFlow Lite Micro, and compile its header (needs `make converters`)
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[micro]"
	$(BIN)/python -m pytest -q -rs -s deploy/microcontroller

test-desktop: $(READY) ## run the zoo on an emulated x86 processor without VNNI, and in LiteRT, ExecuTorch and TensorFlow Lite Micro
	$(BIN)/python -m pytest -q -rs -s deploy/desktop

test-android: $(READY) ## the app's classifier in Java against Python's answers; the app, built and signed (needs Debian's kotlin)
	$(BIN)/python -m pytest -q -rs -s deploy/android

test-deploy: test-desktop test-pi test-micro test-browser test-android ## all of deploy/: a missing tool is a skip that says what to install

PLACES := paper/evidence/zoo
places: $(READY) ## ask every place for the same answers, count instructions, and time this machine: evidence of nbs/places.ipynb
	rm -f $(PLACES)/places.jsonl
	LIGHTVISION_PLACES=$(abspath $(PLACES))/places.jsonl $(BIN)/python -m pytest -q -rs deploy -k "same_answers or same_classes or as_python_does"
	$(BIN)/lightvision bench instructions $(wildcard zoo/*/model.onnx) --out $(PLACES)/instructions.csv
	OMP_NUM_THREADS=1 $(BIN)/python deploy/raspberry_pi/bench_device.py $(wildcard zoo/*/model.onnx) --out $(PLACES)/this_machine.json

readme: $(READY) ## write README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

notebooks: $(READY) ## execute the library notebooks in place, to renew the figures of the documentation
	$(BIN)/python tools/execute_notebooks.py nbs nbs/tutorials

lab: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab nbs

clean: ## remove what set-up and studies made here, except runs/
	rm -rf $(VENV) $(LITERT) *.egg-info _proc _docs
