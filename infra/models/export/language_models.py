"""Builds the language-model pair from the weights kept here: ONNX graphs with a cache, no torch, in seconds."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.models import HERE, TOKENIZER, WEIGHTS
from tidegate.infra.models.export import causal_lm as export
from tidegate.infra.models.export import reference
from tidegate.infra.models.export.building import say, sha256
from tidegate.infra.models.training import lora
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import CONTROLS, TokenText

RECIPE = (
    "export/language_models.py",
    "export/causal_lm.py",
    "export/architecture.py",
    "export/weights.py",
    "export/building.py",
    "export/encoder_graph.py",
    "training/lora.py",
    "data/packing.py",
    "../../services/llm/text/prompts.py",
    "../../services/llm/text/tokenizer.py",
)
PAIR = ("target", "draft")
CLOSE = 1e-3
CLOSE_PACKED = 0.2  # of logits that span tens: int8 activations round differently one row at a time
LIVELY = "What does the gold card cost?"


def sources(weights: Path) -> dict[str, str]:
    """The digest of every file that the models are made from."""
    files = sorted(path for path in weights.rglob("*") if path.is_file() and path.suffix != ".md")
    return {str(path.relative_to(weights)): sha256(path) for path in files}


def recipe() -> dict[str, str]:
    return {name: sha256(HERE / name) for name in RECIPE}


def described(directory: Path) -> None:
    """The small files that make a directory a normal Hugging Face one."""
    special = {"bos_token": CONTROLS[1], "eos_token": CONTROLS[2], "pad_token": CONTROLS[0]}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "do_sample": False}
    for name, content in (
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", special),
        ("generation_config.json", generation),
    ):
        (directory / name).write_text(json.dumps(content, indent=1) + "\n")


def checked(
    name: str, content: bytes, config: dict[str, Any], weights: export.Weights, ids: Sequence[int]
) -> dict[str, Any]:
    """Hold the graph against numpy, and decoding token by token against one pass; exits where they part."""
    exact = export.build(config, weights).SerializeToString(deterministic=True)
    whole, stepwise = reference.differences(exact, config, weights)
    decoder = reference.Decoder(content)
    one = decoder.feed(ids)
    decoder.reset()
    pieces = np.concatenate([decoder.feed(ids[:-3]), *(decoder.feed([token]) for token in ids[-3:])])
    apart = float(np.abs(one - pieces).max())
    agreed = float((one.argmax(-1) == reference.logits(config, weights, ids).argmax(-1)).mean())
    say(f"  {name}: fp32 graph to numpy {whole:.1e}, stepwise {stepwise:.1e}; shipped precision stepwise {apart:.1e}")
    if max(whole, stepwise) > CLOSE or apart > CLOSE_PACKED:
        raise SystemExit(f"{name}: the graph does not compute what its weights say\nhint: do not use this model")
    return {"fp32_to_numpy": whole, "stepwise": apart, "same_token_as_fp32": round(agreed, 4)}


def make(name: str, source: Path, out: Path, adapter: Path | None = None) -> dict[str, Any]:
    """Write one model's directory: the Hugging Face files and `model.onnx`."""
    config, weights = export.read(source)
    out.mkdir(parents=True)
    if adapter:
        weights = lora.merged(weights, adapter)
    else:
        shutil.copyfile(source / "model.safetensors", out / "model.safetensors")
    shutil.copyfile(source / "config.json", out / "config.json")
    shutil.copyfile(TOKENIZER, out / "tokenizer.json")
    described(out)
    planned = source / "precision.json"
    plan = json.loads(planned.read_text()) if planned.exists() else {}
    content = export.build(config, weights, plan).SerializeToString(deterministic=True)
    (out / "model.onnx").write_bytes(content)
    passages = ("The gold card costs £3.", "The silver card is free.")
    ids = answer_prompt(TokenText.load(TOKENIZER), LIVELY, passages).ids
    return {
        "bytes": len(content),
        "precision": {kind: sum(p == kind for p in plan.values()) for kind in sorted(set(plan.values()))}
        or {"fp32": "all"},
        **checked(name, content, config, weights, ids),
    }


def build(out: Path) -> dict[str, Any]:
    """Every model below `out`, an existing empty directory; the manifest."""
    models = {}
    for name in PAIR:
        if not (WEIGHTS / name / "model.safetensors").exists():
            raise SystemExit(f"{WEIGHTS / name} holds no model.safetensors\nhint: this checkout is incomplete")
        say(f"writing the {name}")
        models[name] = make(name, WEIGHTS / name, out / name)
    for adapter in sorted((WEIGHTS / "adapters").glob("*/adapter_model.safetensors")):
        tenant = adapter.parent.name
        say(f"writing the draft of {tenant}")
        models[f"adapters/{tenant}"] = make(tenant, WEIGHTS / "draft", out / "adapters" / tenant, adapter.parent)
    built = sorted(path for path in out.rglob("*") if path.is_file())
    return {
        "recipe": recipe(),
        "source": sources(WEIGHTS),
        "models": models,
        "built": {str(path.relative_to(out)): sha256(path) for path in built},
    }


def is_current(out: Path) -> bool:
    """Whether `out` holds exactly what this script would build from the weights as they are."""
    try:
        manifest = json.loads((out / "manifest.json").read_text())
        built = {name: sha256(out / name) for name in manifest["built"]}
        same = manifest["recipe"] == recipe() and manifest["source"] == sources(WEIGHTS)
        return same and bool(built) and built == manifest["built"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write, e.g. .models/lm")
    out: Path = parser.parse_args().out
    if is_current(out):
        (out / "manifest.json").touch()
        say(f"{out} is current")
        return
    started = time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        manifest = build(fresh)
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.move(out, Path(scratch) / "stale")
        fresh.rename(out)
    say(f"{out} is ready ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
