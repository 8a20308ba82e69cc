# make run    environment, install, and the main job on the bundled real captures
# make test   the tests, on the installed package
# make check  format, lint and types
# make demo   the web demo on this machine
# make docs   the documentation, as a site in out/site

PYTHON ?= python3
VENV ?= .venv
OUT ?= out
BIN := $(VENV)/bin
SOURCES := $(shell find imaging pose calibration app data -type f -not -name '*.pyc')

.PHONY: run test check demo docs clean

run: $(VENV)/.installed
	$(BIN)/barelens reconstruct data/flatcam/fc_6.png data/flatcam/fc_7.png data/flatcam/fc_8.png \
		--camera data/flatcam/camera.safetensors --out $(OUT)/flatcam
	$(BIN)/barelens reconstruct data/diffusercam/hand.tif \
		--camera data/diffusercam/camera.safetensors --out $(OUT)/diffusercam
	$(BIN)/barelens refine data/flatcam/fc_6.png data/flatcam/fc_7.png data/flatcam/fc_8.png \
		--camera data/flatcam/camera.safetensors --out $(OUT)/refined
	$(BIN)/barelens human data/human/person.png data/human/person_lensless.png --out $(OUT)/people
	@echo "Pictures, linear light and records are in $(OUT)/"

test: $(VENV)/.installed
	$(BIN)/python -m pytest

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

demo: $(VENV)/.installed
	$(BIN)/barelens demo

docs: $(VENV)/.installed
	$(BIN)/python -m mkdocs build --strict -f docs/mkdocs.yml -d $(abspath $(OUT))/site

# torch goes first and alone: pinned, so that no other package's range picks another build.
$(VENV)/.requirements: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip setuptools torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
		'.[batch,demo,dev,docs,human,matlab,metrics,onnx,raw,refine,synthetic,test,train]'
	touch $@

# Not editable, so that a file missing from the package fails here and not at a user's.
$(VENV)/.installed: $(VENV)/.requirements $(SOURCES)
	rm -rf build barelens.egg-info
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	rm -rf build barelens.egg-info
	touch $@

clean:
	rm -rf $(VENV) $(OUT) build barelens.egg-info
