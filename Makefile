# Two commands are all that a fresh machine needs: `make run` and `make test`.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.run
DEV     := $(VENV)/.dev

# A file of tests stays in one process, which may share a service among them.
PYTEST  := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# `ORDER=random`: files, and the tests in each, in an order of chance; the header names its seed.
ifeq ($(ORDER),random)
PYTEST  += --random-order $(if $(SEED),--random-order-seed=$(SEED))
endif

export PORT WORKERS
export BENTOML_DO_NOT_TRACK := True
# Without its cache every process compiles BentoML and all that it imports, 3 s each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup dev run unit test check lint types collect coverage prove bench demo bento container up lock schema dashboards clean

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP) ## build .venv with what the service needs

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@scripts/install $(BIN) requirements.lock
	@touch $(STAMP)

dev: $(DEV)

$(DEV): requirements-dev.lock $(STAMP)
	@scripts/install $(BIN) requirements-dev.lock
	@touch $(DEV)

run: setup ## seed the demo models and serve on 127.0.0.1:3000, or PORT, or as config.yaml says
	@$(BIN)/okawari init
	@at="$$($(BIN)/python -c "from settings import load; s = load(warn=False); print('--host', s.listen.get('host', '127.0.0.1'), '--port', s.port)")" && \
	BENTOML_HOME="$$($(BIN)/python -c "from settings import Settings; print(Settings().store_home)")" exec $(BIN)/bentoml serve service:Okawari $$at

unit: dev ## tests that start no process and no server, in a minute
	@$(PYTEST) -n logical -m "not process and not e2e and not full and not slow" --ignore tests/e2e --ignore tests/clients --ignore tests/api/grpc

test: dev ## all but the end-to-end tests and those with clients of others, in minutes
	@$(PYTEST) -m "not full" --ignore tests/e2e --ignore tests/clients

lint: dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: dev
	@$(BIN)/mypy

coverage: dev ## make test, with the branches that it reaches
	@$(PYTEST) -m "not full" --ignore tests/e2e --ignore tests/clients --cov --cov-report=term

# What pytest compiles of the tests it keeps: four processes that begin together would each do it again.
collect: dev
	@found="$$($(BIN)/python -m pytest --collect-only -qq 2>&1)" || { echo "$$found"; exit 1; }

check: lint ## lint, strict types, all tests at their everyday size: what CI runs
	@$(MAKE) --no-print-directory -j2 types collect
	@$(PYTEST) -m "not full"

prove: dev ## the reliability suite at its full size, with 1, 2 and 4 workers (long)
	@scripts/prove $(BIN)

bench: dev ## measure against the limit of the machine; table and JSON under bench-results/
	@$(BIN)/python -m benchmarks.run

demo: setup ## the tutorial's swap, shown on your terminal
	@$(BIN)/python -m examples.demo

bento: setup ## build the versioned Bento and export it to dist/
	@$(BIN)/python -m scripts.build_bento $(VERSION)

container: setup ## build the Bento's container, okawari:latest, with docker, podman or buildah
	@$(BIN)/python -m scripts.build_container $(if $(VERSION),--version $(VERSION)) $(if $(BUILDER),--builder $(BUILDER)) -- $(BUILD)

up: setup ## start docker-compose.yml; the image is built where it is missing
	@scripts/up $(UP)

dashboards: dev ## write the dashboards of grafana/ anew
	@$(BIN)/python -m scripts.dashboards

lock: ## resolve the dependencies anew
	@scripts/lock $(BIN)

clean: ## remove what the targets made, but no home with models
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage* bench-results
