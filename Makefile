# Needs Python 3.11 or newer and make; everything else is installed into .venv.
.DEFAULT_GOAL := help
.PHONY: help .venv test check validate demo proto locks sboms clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP_INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check
CONSTRAINTS = deploy/constraints.txt
STAMP = .venv/.installed
# The CPU build of torch is a tenth of the CUDA one; taken where no GPU answers and pip finds it.
# Set TORCH_CPU_INDEX to PyTorch's index of CPU wheels if pip is not configured with one.
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU && echo yes)
TORCH = $(shell grep '^torch==' $(CONSTRAINTS))
TORCH_CPU_INDEX ?=

help:  ## List the targets
	@grep -hE '^[.a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

.venv: $(STAMP)  ## Install everything into .venv

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; set PYTHON=" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
ifneq ($(HAS_GPU),yes)
	$(PIP_INSTALL) $(if $(TORCH_CPU_INDEX),--extra-index-url $(TORCH_CPU_INDEX)) '$(TORCH)+cpu' 2>/dev/null \
		|| echo "No CPU build of torch found: taking the default, larger one (see TORCH_CPU_INDEX)." >&2
endif
	$(PIP_INSTALL) -c $(CONSTRAINTS) -e '.[router,worker,upstream,train,openai,otlp,embedded,dev]'
	touch $@

test: .venv  ## Run the tests
	.venv/bin/pytest --numprocesses auto --dist loadfile $(ARGS)

check: .venv validate  ## Lint, format, types, import direction, generated stubs, manifests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python proto/generate.py --check

validate: .venv  ## Check the manifests, overlays, Dockerfiles and lock files; needs no cluster
	.venv/bin/python -m deploy.validate

demo: .venv  ## Bring the whole stack up, ask questions, show what was learned
	.venv/bin/ponder demo $(ARGS)

proto: .venv  ## Regenerate the gRPC stubs
	.venv/bin/python proto/generate.py

locks: .venv  ## Write the lock files of the images
	deploy/docker/locks.sh

sboms: .venv  ## Write what is in the images into build/sbom, as CycloneDX; needs a package index
	deploy/docker/sbom.sh

clean:  ## Remove .venv and caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
