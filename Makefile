# The two main commands: `make tables` builds all tables, `make test` runs the fast tests (`make test-all` runs all tests). They set
# up the environment first.
#   make tables SCALE=digits PAPERS=mixco,clae TABLES=gps-weak SEEDS=5 DEVICE=cpu TRAIN=never JOBS=2 TARGETS="clae spps"
#   PROFILE=slurm runs the trainings on a cluster (docs/cluster.md): a name under workflow/profiles, or a folder.
#   VENV=path uses (or creates) a different virtual environment, with PYTHON=python3.12.

VENV ?= .venv
PYTHON ?=
BIN := $(VENV)/bin

# Each clone runs its own code, even if the environment was made for another clone.
export PYTHONPATH := $(CURDIR)/src$(if $(PYTHONPATH),:$(PYTHONPATH))

# Settings of config/config.yaml given as variables.
GIVEN := $(foreach word,SCALE PAPERS TABLES SEEDS DEVICE TRAIN JOBS,$(if $($(word)),$(word)))
# Quoted for the shell, since a list may have spaces.
choice = '$(shell echo $(1) | tr A-Z a-z)=$(subst ','\'',$($(1)))'
CONFIG := $(if $(GIVEN),--config $(foreach word,$(GIVEN),$(call choice,$(word))))
HOW := $(if $(PROFILE),--workflow-profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS)),$(if $(JOBS),--cores $(JOBS)))
SETS := $(foreach word,$(GIVEN),--set $(call choice,$(word)))

KUBERNETES := $(shell grep -qs '^executor: *kubernetes' $(PROFILE) $(PROFILE)/config.yaml workflow/profiles/$(PROFILE)/config.yaml && echo yes)
ENGINE := $(if $(KUBERNETES),kubernetes,cluster)
SET_UP := sh workflow/setup.sh '$(VENV)' '$(PYTHON)'

.PHONY: tables report test test-slow test-all lint setup clean help

help:            ## Show the commands
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/'

# Snakemake keeps files in the home folder, or here if that is not writable.
ifneq ($(shell test -w "$${HOME:-/nowhere}" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.snakemake/cache
endif

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

test-slow: setup ## Run the slow tests: Slurm, ssh, S3, a mock of Kubernetes, killed and concurrent jobs
	@$(SET_UP) $(ENGINE)
	@$(PYTEST) --dist loadgroup -m slow

test-all: test test-slow   ## Run all tests

lint: setup      ## Check style, formatting and the workflow
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint
	@$(BIN)/sslpairs schema --check

setup:           ## Create the virtual environment
	@$(SET_UP) $(if $(PROFILE),$(ENGINE))

clean:           ## Remove the tables and figures (keeps runs, evaluations, data and the plans of queued jobs)
	@rm -rf results/tables results/figures results/provenance results/report.html
