# The commands of Sagwatch. Needs: Linux, Python 3.11, make. Everything else is installed by `make run` and `make test`.
#
#   make run [SITE=shaqu] [PRODUCTS=FOLDER] [EXECUTOR=local|celery] [MORE=n] [DETACH=1]
#   make stop | clean | status | lint
#   make lock [UPGRADE=1]
#   make test [ARGS="tests/domain -x"]
#   make psql [SITE=shaqu] [ROLE=analyst|owner] [SQL="SELECT ..."]
#   make bench-run JSON=FILE [SIZES=40,20]
#   make bench-alerts JSON=FILE [SEED=n] [SMALL=1]
#   make bench-accuracy JSON=FILE SEED=n [SMALL=1]
#   make ten-years FOLDER=new/folder
#   make bench-engine JSON=FILE [ARGS="--side 100 --epochs 30,60"]
#   make bench-frame JSON=FILE [ARGS="--pixels 1000000 --memory-mb 256"]
#   make kill-test [ROUNDS=n] [SEED=n]
#   make kill-update [KILLS=n] [SEED=n]
#   make property-test [EXAMPLES=n] [SEED=n]
#   make real-data-test [ORDERS=n]

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ifeq ($(strip $(PYTHON)),)
$(error Python 3.11 is missing: on Debian 12, apt-get install python3)
endif

LAUNCHER = @$(PYTHON) -B -m launcher
SITE ?= shaqu

.DEFAULT_GOAL := help
.PHONY: help run stop clean test status psql lock lint bench-run bench-alerts bench-accuracy ten-years bench-engine bench-frame kill-test kill-update property-test real-data-test

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

run:
	$(LAUNCHER) run --site '$(SITE)' $(if $(PRODUCTS),--products '$(PRODUCTS)') \
	  $(if $(EXECUTOR),--executor '$(EXECUTOR)') $(if $(MORE),--more '$(MORE)') $(if $(DETACH),--detach)

stop clean status lint:
	$(LAUNCHER) $@

lock:
	$(LAUNCHER) lock $(if $(UPGRADE),--upgrade)

test:
	$(LAUNCHER) test $(ARGS)

psql:
	$(LAUNCHER) psql --site '$(SITE)' $(if $(ROLE),--role '$(ROLE)') $(if $(SQL),--sql "$(SQL)")

bench-run:
	$(if $(JSON),,$(error say where the figures go: make bench-run JSON=FILE))
	$(LAUNCHER) bench '$(JSON)' $(if $(SIZES),--sizes '$(SIZES)')

bench-alerts:
	$(if $(JSON),,$(error say where the figures go: make bench-alerts JSON=FILE))
	$(LAUNCHER) bench-alerts '$(JSON)' $(if $(SEED),--seed '$(SEED)') $(if $(SMALL),--small)

bench-accuracy:
	$(if $(JSON),,$(error say where the figures go: make bench-accuracy JSON=FILE SEED=n))
	$(if $(SEED),,$(error say which mine is measured: SEED=n, any number that nothing was tuned with))
	$(LAUNCHER) bench-accuracy '$(JSON)' --seed '$(SEED)' $(if $(SMALL),--small)

ten-years:
	$(if $(FOLDER),,$(error say where the history goes: make ten-years FOLDER=new/folder))
	$(LAUNCHER) ten-years '$(FOLDER)'

bench-engine bench-frame:
	$(if $(JSON),,$(error say where the figures go: make $@ JSON=FILE))
	$(LAUNCHER) $@ '$(JSON)' $(ARGS)

kill-test:
	$(LAUNCHER) kill-test $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(SEED),--seed '$(SEED)')

kill-update:
	$(LAUNCHER) kill-update $(if $(KILLS),--kills '$(KILLS)') $(if $(SEED),--seed '$(SEED)')

property-test:
	$(LAUNCHER) property-test $(if $(EXAMPLES),--examples '$(EXAMPLES)') $(if $(SEED),--seed '$(SEED)')

real-data-test:
	$(LAUNCHER) real-data-test $(if $(ORDERS),--orders '$(ORDERS)')
