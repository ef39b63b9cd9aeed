# The two commands: `make tables` builds the main job, `make test` runs the fast tests (`make test-all` all of them). They set up
# what they need first.
#   make tables SCALE=digits PAPERS=mixco,clae TABLES=gps-weak SEEDS=5 DEVICE=cpu TRAIN=never JOBS=2 TARGETS="clae spps"
#   PROFILE=slurm runs the trainings on a cluster (docs/cluster.md); a name under workflow/profiles, or a folder.
#   VENV=path uses (or makes) another virtual environment.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

# Choices of config/config.yaml that were given as words.
CHOICES := $(foreach word,SCALE PAPERS TABLES SEEDS DEVICE TRAIN JOBS,$(if $($(word)),$(shell echo $(word) | tr A-Z a-z)=$($(word))))
CONFIG := $(if $(CHOICES),--config $(CHOICES))
HOW := $(if $(PROFILE),--workflow-profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS)),$(if $(JOBS),--cores $(JOBS)))
SETS := $(foreach choice,$(CHOICES),--set $(choice))

sum = $(shell cat $(1) | cksum | cut -d' ' -f1)
KUBERNETES := $(shell grep -qs '^executor: *kubernetes' $(PROFILE) $(PROFILE)/config.yaml workflow/profiles/$(PROFILE)/config.yaml && echo yes)
ENGINE := $(if $(KUBERNETES),kubernetes,cluster)
PLUGINS := $(VENV)/.$(ENGINE)-$(call sum,requirements-$(ENGINE).txt)

.PHONY: tables report test test-slow test-all lint setup clean help

help:            ## Show the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/'

tables: setup    ## Build all tables and figures, then show a summary
	@$(BIN)/sslpairs fetch --unknown $(SETS)
	@$(BIN)/sslpairs plan $(TARGETS) $(SETS) $(if $(PROFILE),--profile $(PROFILE))
	@$(BIN)/snakemake $(TARGETS) $(HOW) $(CONFIG)
	@$(BIN)/sslpairs tables $(TARGETS) $(SETS)

report: tables   ## Write results/report.html: tables, figures and provenance in one file
	@$(BIN)/snakemake $(TARGETS) --report results/report.html $(CONFIG)
	@echo "Report: results/report.html"

PYTEST := $(BIN)/python -m pytest -rs -n $(or $(JOBS),logical) --maxprocesses 4

test: setup      ## Run the tests that need no server and no cluster
	@$(PYTEST) --dist worksteal -m "not slow"

test-slow: setup $(PLUGINS)   ## Run the others: Slurm, ssh, S3, Kubernetes' stand-in, kills and storms
	@$(PYTEST) --dist loadgroup -m slow

test-all: test test-slow   ## Run all tests

lint: setup      ## Check style, formatting and the workflow
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint
	@$(BIN)/sslpairs schema --check

setup: $(VENV)/.ready-$(call sum,requirements.txt pyproject.toml) $(if $(PROFILE),$(PLUGINS))   ## Make the virtual environment

# Each stamp is named after what it was made from, so that new pins set the environment up again.
$(VENV)/.ready-%: requirements.txt pyproject.toml
	@echo "Setting up $(VENV) (a few gigabytes, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(shell sed -n 's/^uv==//p' requirements.txt)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@rm -f $(VENV)/.ready-*
	@touch $@

# Executors for clusters are for those who use them: every start of Snakemake imports what is installed.
$(VENV)/.cluster-% $(VENV)/.kubernetes-%: | $(VENV)/.ready-$(call sum,requirements.txt pyproject.toml)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --requirement requirements-$(firstword $(subst -, ,$(@F:.%=%))).txt
	@touch $@

clean:           ## Remove the tables and figures (runs, evaluations, data and the plans of jobs in a queue stay)
	@rm -rf results/tables results/figures results/provenance results/report.html
