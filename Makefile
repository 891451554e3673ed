# Podium. `make help` lists the targets; each is `python -m pipeline VERB` in the environment .venv,
# which is made on first use and again only when requirements.txt changes. What one competition alone
# needs, experiments/competitions/COMP.requirements.txt, is installed when COMP= first names it.
#
# Variables (make train ARCH=densenet121 ONLY=0 ...); each is the verb's option of the same name:
#   COMP=digits  ARCH=  RECIPE=baseline  NAME=  SEED=0  SET="training.epochs=3"  ONLY=0  LIMIT=500
#   FASHION_MNIST=folder of the four IDX files of COMP=fashion-mnist (no option: read from the environment)
#   FOLDS=5 HOLDOUT=0.2 TEST=0.1 (make folds)  RUNS="a b"  FROM=run  SCORE=0.74  PRIVATE=0.73  UPLOAD=1  FRESH=1  REFIT=1  BUDGET=2h
#   STUDY=small (make tune): docs/tuning.md  EXECUTOR=local|ray|ray:HOST:PORT|slurm  WORKERS=2: docs/engines.md
#   MISTAKES=1 (make report)  MAX_MB=100 AGREEMENT=0.98 ALL=1 (make export)  HOST=127.0.0.1 PORT=7860 (make serve)
#   CONFIDENCE=0.9  OUT=file.csv  SECONDS=600 (make import)  MIXED_FOLDS=1 (make ensemble)
#   DATA=folder (make init, make predict), folds.csv (make folds), oof.csv,test.csv (make import)
PYTHON ?= python3
COMP ?= digits
RUN := .venv/bin/python -m pipeline

# Some shells export a NAME or HOST of their own (WSL, csh), and what is sent or entered cannot be taken
# back; of these only what is typed here counts.
$(foreach name,NAME HOST PORT UPLOAD SCORE PRIVATE,$(if $(findstring command,$(origin $(name))),,$(eval $(name) :=)))

# $(call option,NAME) is --name 'value' where NAME is given, else nothing.
lower = $(shell echo $(1) | tr A-Z a-z)
quoted = '$(subst ','\'',$($(1)))'
option = $(if $($(1)),--$(call lower,$(1)) $(call quoted,$(1)))
options = --comp $(call quoted,COMP) $(foreach name,$(1),$(call option,$(name))) $(fresh)
# $(call on,NAME) is what NAME=1 says, nothing for NAME=0, and an error for what is neither.
on = $(filter 1 yes true,$($(1)))$(if $(filter-out 0 no false 1 yes true,$($(1))),$(error $(1)=$($(1)): is 1 or 0))
flag = $(if $(call on,$(1)),--$(subst _,-,$(call lower,$(1))))
fresh = $(call flag,FRESH)

# $(extra) are the stamps of what COMP alone needs, and EXECUTOR (its name before any :HOST), or nothing.
# The other parts that need packages of their own are installed by their targets, or by EXTRAS="export serve".
vpath %.requirements.txt pipeline/cluster pipeline/deploy pipeline/serve pipeline/submission tests
wanting = $(patsubst experiments/competitions/%.requirements.txt,%,$(wildcard experiments/competitions/*.requirements.txt))
engine = $(firstword $(subst :, ,$(EXECUTOR)))
engines = $(patsubst pipeline/cluster/%.requirements.txt,%,$(wildcard pipeline/cluster/*.requirements.txt))
extra = $(addprefix .venv/extra-,$(filter $(wanting),$(COMP))) $(addprefix .venv/extra-part-,$(filter $(engines),$(engine)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test init audit folds preview lr-find train tune learning-curve predict import ensemble compare label-errors bench submit score leaderboard report export serve

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@sed -n '/^# Variables/,/^#   DATA/s/^# *//p' $(MAKEFILE_LIST)

setup: .venv/done $(extra) $(addprefix .venv/extra-part-,$(EXTRAS)) ## make the environment .venv with pinned packages: EXTRAS="export serve upload browser"

# Rebuilt when the text of requirements.txt changes; a checkout that only touches it changes nothing.
.venv/done: requirements.txt
	@if cmp -s requirements.txt $@; then touch $@; exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, not " + sys.version.split()[0] + "; make setup PYTHON=python3.11")' && \
	echo "making .venv (downloads several GB once) ..." && \
	$(PYTHON) -m venv .venv && rm -f .venv/extra-* && \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt && \
	cp requirements.txt $@

# The pins stay what they are: an extra that wants other versions is refused by pip.
define install
	@if cmp -s $< $@; then touch $@; exit 0; fi; \
	echo "installing $< into .venv ..." && \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -r $< && \
	cp $< $@
endef

.venv/extra-%: experiments/competitions/%.requirements.txt .venv/done
	$(install)

.venv/extra-part-%: %.requirements.txt .venv/done
	$(install)

demo: .venv/done $(extra) ## the main job from nothing: folds, two runs, ensemble, submissions, scores
	@$(RUN) demo --comp $(call quoted,COMP)

test: .venv/done ## run the tests and the style check
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet . || { echo "error: run .venv/bin/ruff format"; exit 1; }
	@.venv/bin/python -m pytest $(ARGS)

init: .venv/done ## look at DATA=folder and write experiments/competitions/COMP.yaml: SET= FRESH=1
	@$(RUN) init $(if $(filter-out file default,$(origin COMP)),--comp $(call quoted,COMP)) $(foreach name,DATA SET,$(call option,$(name))) $(fresh)

audit: .venv/done $(extra) ## look for leaks, duplicates and bad pictures: audit.html: FRESH=1
	@$(RUN) audit $(call options,)

folds: .venv/done $(extra) ## make the folds that all runs share, or take DATA=folds.csv: FOLDS= HOLDOUT= TEST= SEED= FRESH=1
	@$(RUN) folds $(call options,FOLDS HOLDOUT TEST SEED DATA)

preview: .venv/done $(extra) ## draw what the network is fed: ARCH= RECIPE= SET= SEED= ONLY= LIMIT=12
	@$(RUN) preview --comp $(call quoted,COMP) $(foreach name,ARCH RECIPE SET SEED ONLY LIMIT,$(call option,$(name)))

lr-find: .venv/done $(extra) ## which learning rate for ARCH, and a picture of its schedule: RECIPE= SET= SEED= ONLY=
	@$(RUN) lr-find --comp $(call quoted,COMP) $(foreach name,ARCH RECIPE SET SEED ONLY,$(call option,$(name)))

train: .venv/done $(extra) ## train ARCH="a b" on every fold: RECIPE= SET= SEED= NAME= ONLY= LIMIT= BUDGET=2h EXECUTOR= WORKERS= REFIT=1 FRESH=1
	@$(RUN) train $(call options,ARCH RECIPE SEED SET NAME ONLY LIMIT BUDGET EXECUTOR WORKERS) $(call flag,REFIT)

tune: .venv/done $(extra) ## search the space of STUDY=small for a better recipe: BUDGET=6h EXECUTOR= WORKERS= FRESH=1
	$(foreach name,ARCH RECIPE SET SEED ONLY LIMIT,$(if $(findstring command,$(origin $(name))),$(error $(name)= belongs into the study, experiments/studies/$(STUDY).yaml)))
	@$(RUN) tune $(call options,STUDY BUDGET EXECUTOR WORKERS)

learning-curve: .venv/done $(extra) ## train ARCH on 1/8, 1/4, 1/2 and all rows: RECIPE= SET= SEED="0 1 2" ONLY=0 NAME= FRESH=1
	@$(RUN) learning-curve $(call options,ARCH RECIPE SEED SET ONLY NAME)

predict: .venv/done $(extra) ## answers of the newest ensemble, or FROM=run, for DATA=folder: CONFIDENCE= OUT=
	@$(RUN) predict --comp $(call quoted,COMP) $(foreach name,FROM DATA CONFIDENCE OUT,$(call option,$(name)))

import: .venv/done $(extra) ## predictions from anywhere as run NAME: DATA=oof.csv,test.csv SECONDS= FRESH=1
	@$(RUN) import $(call options,DATA NAME SECONDS)

ensemble: .venv/done $(extra) ## blend all finished runs, or RUNS="a b", and decide: NAME= BLEND= RULE= CALIBRATION= MIXED_FOLDS=1
	@$(RUN) ensemble --comp $(call quoted,COMP) $(foreach name,RUNS NAME BLEND RULE CALIBRATION,$(call option,$(name))) $(call flag,MIXED_FOLDS)

compare: .venv/done $(extra) ## is RUNS="a b" a real gain: verdict, what changed, pictures fixed and broken
	@$(RUN) compare --comp $(call quoted,COMP) $(call option,RUNS)

label-errors: .venv/done $(extra) ## labels that may be wrong, by the newest ensemble or FROM=run: a CSV to fill in
	@$(RUN) label-errors --comp $(call quoted,COMP) $(call option,FROM)

bench: .venv/done $(extra) ## accuracy against inference time of all finished runs, or RUNS="a b": ARCH= (untrained) SET= FRESH=1
	@$(RUN) bench $(call options,RUNS ARCH RECIPE SET)

submit: .venv/done $(extra) $(if $(call on,UPLOAD),.venv/extra-part-upload) ## write a checked submission of the newest ensemble, or FROM=run; UPLOAD=1 sends it to Kaggle
	@$(RUN) submit --comp $(call quoted,COMP) $(call option,FROM) $(call flag,UPLOAD)

score: .venv/done $(extra) ## grade submissions locally or ask Kaggle for scores; SCORE=0.74 PRIVATE=0.73 (of FROM=) by hand
	@$(RUN) score --comp $(call quoted,COMP) $(foreach name,SCORE PRIVATE FROM,$(call option,$(name)))

leaderboard: .venv/done $(extra) ## all runs and ensembles; CV against the leaderboard, advice for the final two picks
	@$(RUN) leaderboard --comp $(call quoted,COMP)

report: .venv/done $(extra) ## one page, report.html: where we are, what is wrong, what to do next: FROM= MISTAKES=1
	@$(RUN) report --comp $(call quoted,COMP) $(call option,FROM) $(call flag,MISTAKES)

export: .venv/done $(extra) .venv/extra-part-export ## a folder that answers without torch, of the newest ensemble or FROM=run: MAX_MB=100 AGREEMENT= CONFIDENCE= ALL=1 FRESH=1
	@$(RUN) export --comp $(call quoted,COMP) $(call option,FROM) $(if $(MAX_MB),--max-mb $(call quoted,MAX_MB)) $(foreach name,AGREEMENT CONFIDENCE,$(call option,$(name))) $(call flag,ALL) $(fresh)

serve: .venv/done $(extra) .venv/extra-part-serve ## a page and HTTP for what was exported FROM=run: HOST= PORT=7860 CONFIDENCE= SET="picture_mb=32"
	@$(RUN) serve --comp $(call quoted,COMP) $(foreach name,FROM HOST PORT CONFIDENCE SET,$(call option,$(name)))
