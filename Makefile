# `make run` and `make test` need nothing before them: each makes .venv, installs, and does its job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: bench-graphs bench-search bench-overhead bench-durability bench-campaign bench-accuracy bench-train run test test-slow test-clusters format clean help redteam docs

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed, and $(PYTHON) is `$(PYTHON) -V 2>&1`; say: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@$(BIN)/python -m pip install --quiet --no-deps matbench==0.6
	@touch $@

run: $(STAMP)  ## install and watch the offline team improve the seed on the shipped crystals
	@$(BIN)/team run $(ARGS)

test: $(STAMP)  ## install and run format, lint, types, import direction and tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest $(ARGS)

test-slow: $(STAMP)  ## the lane that takes minutes: every playbook edit and pair trains a batch
	@$(BIN)/pytest -m slow $(ARGS)

test-clusters: $(STAMP)  ## the lane of trials elsewhere: a Ray and a Slurm of its own on this host (ten minutes)
	@$(BIN)/python -m pip install --quiet --editable '.[ray,slurm]'
	@$(BIN)/pytest -m 'ray or slurm' $(ARGS)

format: $(STAMP)  ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(STAMP)  ## write docs/commands.md from the program's own help
	@$(BIN)/python docs/build.py commands

clean:  ## remove the environment (runs stay)
	@rm -rf $(VENV)

redteam: $(STAMP)  ## try every promise of every layer, then let every attack loose on them, and say what stopped it
	@$(BIN)/python -m tests.redteam.conformance
	@$(BIN)/python -m tests.redteam.suite $(ARGS)

bench-search: $(STAMP)  ## replay search strategies in a world of 400 recorded trials (half an hour on two cores)
	@$(BIN)/python -m benchmarks.search.world
	@$(BIN)/python -m benchmarks.search $(ARGS)

bench-overhead: $(STAMP)  ## what a round costs beside its trials, next to other research loops (ten minutes)
	@$(BIN)/python -m benchmarks.overhead $(ARGS)

bench-durability: $(STAMP)  ## kill a run 200 times at random moments and count what is lost (ten minutes)
	@$(BIN)/python -m benchmarks.durability $(ARGS)

bench-campaign: $(STAMP)  ## what a decision costs after 1,000, 10,000 and 100,000 trials, without training
	@$(BIN)/python -m benchmarks.campaign $(ARGS)

bench-accuracy: $(STAMP)  ## accuracy at 60 s and 300 s of the seed and a CGCNN, paired (an hour on two quiet cores; TEAM_TEST_DATA)
	@$(BIN)/python -m benchmarks.accuracy $(ARGS)

bench-graphs: $(STAMP)  ## neighbours and folded atoms: seconds, bytes, and agreement with pymatgen's (two minutes)
	@$(BIN)/python -m benchmarks.graphs $(ARGS)

bench-train: $(STAMP)  ## crystals per second of our files against a textbook model of PyTorch Geometric (ten minutes)
	@$(BIN)/python -m benchmarks.training $(ARGS)
