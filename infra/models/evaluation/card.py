"""Writes a model's card from the figures that were measured and lie beside it."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]

VARIANTS = (
    "On held-out questions, left free. Pruned: a quarter of the inner units of every layer taken out by use "
    "(`prune.py`); recovered: trained on for a minute. The last rows are answers as the tenant `signpost` wants them."
)
WHAT = {
    "target": "Answers a question by quoting the numbered passages it is given, or extracts JSON from a text.",
    "draft": "Proposes what the target would say next, and answers on its own where the target is too slow.",
}
LIMITS = """- Where the passages hold another attribute of the thing asked for, it may quote that instead of abstaining;
  of two passages that answer it may quote only one, or the second first. The tables say how often. Left free it seldom
  misquotes; decode under the rule of `quoting.py` (or a grammar that says the same), where it cannot.
- It quotes. It does not reason, add up, translate or know anything that is not in the passages.
- It finds a passage by the words it shares with the question and by the paraphrases of the training templates; a
  question in other words altogether is often answered wrongly, and wrongly with confidence.
- The held-out packs have things, attributes and templates of their own, but the same generator writes them: made-up
  sentences, one style. Real prose is harder. The branch pack in this repository was looked at for the length and style
  of its sentences only; none of its text, values or questions was trained on. It is a test.
- The held-out packs were looked at during development: what failed there said which kinds of training data were missing
  (`deeds.py`), whose sentence patterns are as general as English is. Treat the shares as a little kind.
- English; German, French and Spanish only as a handful of templates.
- Prompts of up to 384 tokens were trained on; at most nine passages can be cited."""


def table(rows: Rows) -> str:
    """A Markdown table whose columns are the keys of the first row."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def quality(figures: Mapping[str, Any]) -> str:
    """Exact match by kind, and extraction."""
    questions, extraction = figures["questions"], figures["extraction"]
    kinds = [kind for kind in questions if kind not in ("wrong", "count")]
    rows = [{"held-out questions": kind, "exact match": share(questions[kind])} for kind in kinds]
    wrong = ", ".join(f"{many} with a {what}" for what, many in questions["wrong"].items()) or "none"
    fields, objects, valid = (share(extraction[name]) for name in ("fields", "objects", "valid"))
    if quoting := figures.get("quoting"):
        for row, kind in zip(rows, kinds, strict=True):
            row["when quoting"] = share(quoting[kind])
    return (
        f"{table(rows)}\n\n{questions['count']} questions; wrong answers: {wrong}. Exact match is of the whole "
        "answer, marks included: greedy and free, and greedy among the answers that quote a sentence of the cited "
        f"passage to the letter (`quoting.py`, at the shipped precision, {figures['quoting']['count']} questions).\n\n"
        f"Extraction on {extraction['count']} held-out texts, greedy and without constraint: {fields} of the fields, "
        f"{objects} of the objects right as a whole, {valid} valid JSON."
    )


def trained(runs: Rows) -> str:
    """What was trained, run by run."""
    return table(runs)


def quantised(found: Mapping[str, Any]) -> str:
    """The table of precisions and what was chosen."""
    kept = found["plan"] if found["kept"] == "mixed" else {}
    low = sorted(name for name, bits in kept.items() if bits == "int4")
    outcome = f"int4 in the mixture: {', '.join(low) or 'none'}; the rest int8. " if kept else ""
    worst = max(found["sensitivity"].items(), key=lambda pair: pair[1]["int4"])
    return (
        f"{table(found['rows'])}\n\nDivergence is the mean over the tokens of held-out answers, in nats, from fp32; "
        f"the mixture may reach {found['cap']}. Latency: one thread of a shared two-core machine, the fastest of "
        f"several. {outcome}Most sensitive to int4: {worst[0]} ({worst[1]['int4']:.1e}). "
        f"`make models` builds {found['kept']}."
    )


def foreseen(found: Mapping[str, Mapping[str, float]]) -> str:
    """How much of the target's greedy answer the draft says, by kind."""
    names = {"accepted": "tokens foreseen", "run_4": "run of 4", "run_8": "run of 8", "run_16": "run of 16"}
    rows = [
        {"kind": kind, **{title: share(row[key]) if key == "accepted" else row[key] for key, title in names.items()}}
        for kind, row in found.items()
    ]
    outcome = "Given the true prefix; a run counts the accepted of so many proposed, from every place. 30 cases a kind."
    return f"{table(rows)}\n\n{outcome}"


def card(directory: Path) -> str:
    """The whole card of the model in `directory`."""
    name = directory.name
    config = json.loads((directory / "config.json").read_text())
    figures = json.loads((directory / "figures.json").read_text())
    weights = directory / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    parts = [
        f"# The {name}",
        WHAT[name],
        f"`model.safetensors`: {figures['parameters']:,} parameters as float16, {weights.stat().st_size:,} bytes, "
        f"sha256\n`{digest}`. `LlamaForCausalLM`: width {config['hidden_size']}, {config['num_hidden_layers']} layers, "
        f"{config['num_attention_heads']} heads of {config['head_dim']}, inner {config['intermediate_size']}, "
        f"vocabulary {config['vocab_size']}, tied. Every loader computes in float32.",
        "## Data",
        "Everything is generated by `generator.py` and `extraction.py` from the word lists in `domains/`: 32 domains, "
        "three foreign sets, made-up names, values and attributes, near misses among the passages; copy tasks over "
        "random tokens. Attention was told where to look (`guiding.py`). "
        "Seeds 1 and 3. No text from anywhere else, no other model's output.",
        "## Training",
        trained(figures["runs"]),
        "Two shared cores, no accelerator; what is evaluated are the running mean's weights, rounded to float16.",
        "## Held out",
        quality(figures),
    ]
    if "foreseen" in figures:
        parts += ["## As a draft", foreseen(figures["foreseen"])]
    if (directory / "quantisation.json").exists():
        found = json.loads((directory / "quantisation.json").read_text())
        parts += ["## Precision, size, latency", quantised(found)]
    if variants := figures.get("variants"):
        parts += ["## Pruned, and with a tenant's adapter", table([*variants, *adapted(directory)]), VARIANTS]
    return "\n\n".join([*parts, "## Limits", LIMITS]) + "\n"


def adapted(directory: Path) -> Rows:
    """What each adapter of the model adds and changes."""
    rows = []
    for path in sorted(directory.parent.glob("adapters/*/figures.json")):
        found = json.loads(path.read_text())
        for name in ("without", "with"):
            size = f"+ {found['parameters']:,}" if name == "with" else "as shipped"
            title = f"{name} the adapter {path.parent.name}"
            right = share(found[f"exact match {name}"])
            rows.append({"variant": title, "parameters": size, "exact match": right, "count": found["count"]})
    return rows


def tenant(directory: Path) -> str:
    """The card of the adapter in `directory`."""
    figures = json.loads((directory / "figures.json").read_text())
    digest = hashlib.sha256((directory / "adapter_model.safetensors").read_bytes()).hexdigest()
    return (
        f"# The adapter of {directory.name}\n\nA demonstration tenant whose screen shows the cited passages, so that "
        "its answers are the marks alone. LoRA of rank 3 on queries and values of the draft, PEFT's file names.\n\n"
        f"`adapter_model.safetensors`, sha256\n`{digest}`.\n\n{table([figures])}\n\n"
        "Exact match is of the whole answer as the tenant wants it, on held-out questions, greedy and free. Trained on "
        "generated questions, seed 1, with `adapt.py`.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, nargs="+")
    for directory in parser.parse_args().directory:
        text = tenant(directory) if (directory / "adapter_config.json").exists() else card(directory)
        (directory / "MODEL_CARD.md").write_text(text)


if __name__ == "__main__":
    main()
