.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo demo-bad-day ui secrets up demo-cluster down test test-quick test-services lint audit-images sbom format docs lock bench-bootstrap bench-features bench-gate bench-gate-curves bench-night bench-pages bench-quality bench-serving bench-training clean
SHELL := /bin/bash
BIN := .venv/bin
DATA ?= sample
TRAINER ?= cpu
VERSION = $$(git describe --always --abbrev=12 --exclude='*' --dirty=+changes)
STACK = CODE_VERSION=$(VERSION) CPU_TRAINERS=$(if $(filter gpu,$(TRAINER)),0,1) \
  docker compose $(if $(filter gpu,$(TRAINER)),--profile gpu)
# A service for each image; of the two trainers, the one that will run.
IMAGES = init spark-master namenode mlflow postgres redis proxy $(if $(filter gpu,$(TRAINER)),trainer-gpu,trainer)
NEEDS_NVIDIA = docker info --format '{{json .}}' | grep -q nvidia || \
  { echo "Docker knows no NVIDIA device: install NVIDIA's container toolkit, then nvidia-ctk runtime configure, and restart Docker." >&2; exit 1; }
SBOM ?= dist/sbom.json
# What imports Airflow or Spark, or starts services; a test that takes long by nature is marked `long`.
NOT_QUICK = benchmarks dags e2e plugins services spark_jobs include/orchestration

help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install Java 17 (if missing) and the locked packages into .venv
	@tools/setup.sh

setup-dev: ## The same, with the packages of development: linters, tests, benchmarks
	@tools/setup.sh --dev

demo: setup ## Ten days of logs, a history load and three nightly runs through Airflow (DATA=mind BEHAVIORS=F NEWS=F for MIND)
	@$(BIN)/ctr demo --data $(DATA) $(if $(BEHAVIORS),--behaviors $(BEHAVIORS)) $(if $(NEWS),--news $(NEWS))

demo-bad-day: ## After `make demo`: a day with a damaged log, its red check, and what it did not change
	@[ -x $(BIN)/ctr ] || { echo "Run make demo first: the bad day comes after its last night." >&2; exit 2; }
	@$(BIN)/ctr demo --data $(DATA) --bad-day

ui: setup ## Open Airflow's UI on what the demo left (PORT=8081 for another port; Ctrl-C stops it)
	@$(BIN)/ctr ui --data $(DATA) $(if $(PORT),--port $(PORT))

secrets: ## Generate the stack's secrets that are missing, into secrets/
	@tools/secrets.sh

up: secrets ## Start the production stack on this host with docker compose, and wait until all is healthy (TRAINER=gpu: train on the GPU)
	@$(if $(filter gpu,$(TRAINER)),$(NEEDS_NVIDIA),docker compose rm --stop --force trainer-gpu)
	@$(STACK) build $(IMAGES)
	@$(STACK) up --no-build --detach --wait || { echo "What went wrong: docker compose ps --all, then docker compose logs SERVICE" >&2; exit 1; }
	@version=$(VERSION); for image in $$(docker compose --profile gpu config --images | grep '^ctr-.*:latest$$' | sort -u); do \
	  ! docker image inspect $$image >/dev/null 2>&1 || docker tag $$image $${image%latest}$${version/+/-}; done # to go back to: CTR_VERSION
	@echo "Airflow: http://localhost:$$(docker compose port proxy 8080 | cut -d: -f2)  user admin, password in secrets/airflow_admin_password"
	@echo "MLflow:  http://localhost:$$(docker compose port proxy 5000 | cut -d: -f2)  user admin, password in secrets/mlflow_admin_password"

demo-cluster: ## The demo through that stack: logs on HDFS, jobs on the Spark cluster, tasks on Celery's workers
	@tools/secrets.sh && { [ -e settings/settings.env ] || cp include/airflow_control/small_log.env settings/settings.env; } && $(MAKE) up
	@$(STACK) --profile demo run --rm demo

down: ## Stop the stack; its data stay in its volumes (ARGS=--volumes: they are deleted)
	@$(STACK) --profile gpu --profile demo down $(ARGS)

test: ## Lint, then every test but the slow ones of test-services; some of them without lint: ARGS="tests/training -k gate"
	@tools/setup.sh --tests $(if $(ARGS),,&& $(MAKE) lint) && $(BIN)/pytest $(ARGS)

test-quick: setup-dev ## The tests that need no Spark, Airflow or service and do not take long by nature, in about a minute
	@$(BIN)/pytest -m "not (long or slow or services)" $(addprefix --ignore=tests/,$(NOT_QUICK)) $(ARGS)

# Days and nights on a cluster take minutes each: pytest leaves those marked `slow` out unless asked, as here.
test-services: ## Services started for it are killed: HDFS, Spark's cluster, Airflow and its PostgreSQL, the Docker stack; property tests try more examples
	@tools/setup.sh --tests && HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -n 0 -m "services or hypothesis" $(ARGS)

lint: setup-dev ## ruff, mypy, the import rules between the packages, Dockerfile and compose, known vulnerabilities of the lock
	@tools/lint.sh

audit-images: ## Updates of the distribution's security team that the stack's images lack
	@tools/audit_images.sh

sbom: setup-dev ## What is installed, with licences, as CycloneDX JSON (SBOM=dist/sbom.json)
	@mkdir -p $(dir $(SBOM)) && $(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate $(ARGS) \
	  --output-file $(SBOM) $(BIN)/python

format: setup-dev ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: setup ## Write the generated pages of docs/ and .env.example again
	@$(BIN)/ctr features --markdown > docs/features.md && $(BIN)/ctr records --markdown > docs/records.md
	@$(BIN)/ctr settings --markdown > docs/settings.md && $(BIN)/ctr settings --env > .env.example

lock: setup-dev ## Pin every package in requirements.txt from pyproject.toml
	@tools/lock.sh

bench-bootstrap: setup-dev ## Speed of resampling two models' metrics in 57 groups (ARGS="--rows 1000000 --resamples 1000")
	@$(BIN)/python -m benchmarks.bootstrap $(ARGS)

bench-features: setup-dev ## Speed of the Spark jobs beside DuckDB, 15 minutes (ARGS="--part jobs --rows 10000000" for a large day)
	@$(BIN)/python -m benchmarks.features.speed $(ARGS)

bench-night: setup-dev ## A whole night task by task at 20,000 and a million rows (ARGS="--rows 10000000 --memory 6g" for a large one)
	@$(BIN)/python -m benchmarks.night $(ARGS)

bench-pages: setup-dev ## Speed of the pages in Airflow's UI over a long history (ARGS="--days 400 --checks 160")
	@$(BIN)/python -m benchmarks.pages $(ARGS)

bench-gate-curves: setup-dev ## The promotion gate on made worlds whose truth is known: what it promotes, and what ninety nights lose (ARGS="--part healthy")
	@$(BIN)/python -m benchmarks.gate.curves $(ARGS)

bench-gate: setup-dev ## The promotion gate on twenty nights with trained models, six of them planted bad (ARGS="--seed 19 --rows 20000")
	@$(BIN)/python -m benchmarks.gate.days $(ARGS)

bench-quality: setup-dev ## Model variants of models beside LightGBM and torch-rechub, some hours (ARGS="--data lake" for the lake of your settings, "--data generated --seeds 18 --rows 5000")
	@$(BIN)/python -m benchmarks.quality.compare $(ARGS)

bench-serving: setup-dev ## Latency of `ctr serve`, after training a small champion (ARGS="--home .ctr" for the one that is there)
	@$(BIN)/python -m benchmarks.serving $(ARGS)

bench-training: setup-dev ## Speed of training beside torch-rechub's PLE of the same architecture (ARGS="--batch 256")
	@$(BIN)/python -m benchmarks.training $(ARGS)

clean: ## Remove what the demo made (.ctr); keeps .venv
	rm -rf .ctr
