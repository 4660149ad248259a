"""Chooses a precision for each matrix by measurement: how far the next tokens move when only that one is packed.

Writes `precision.json` beside the weights (the plan that `language_models.py` builds) and prints, for fp32, int8, int4
and the mixture, exact match, agreement with fp32, size and latency.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import generator, packing
from tidegate.infra.models.data.prompts import Prompts
from tidegate.infra.models.evaluation import quoting
from tidegate.infra.models.export import causal_lm as export
from tidegate.infra.models.export import reference

Array = np.ndarray[Any, Any]
Case = tuple[list[int], list[int]]


def cases(count: int, seed: int) -> list[Case]:
    """Held-out prompts and their true answers; not the ones that the report is made on."""
    builder = Prompts(TOKENIZER)
    found = [
        (builder.question(sample.question, sample.passages), builder.answer(sample.parts))
        for sample in generator.heldout(count * 3 // 4, seed)
    ]
    found += [
        (builder.extraction(record.schema, record.text), builder.json(record.json))
        for record in generator.heldout_records(count // 4, seed)
    ]
    return found


def spread(decoder: reference.Decoder, some: Sequence[Case]) -> list[Array]:
    """The log-probabilities at every place of every answer."""
    found = []
    for prompt, answer in some:
        decoder.reset()
        logits = decoder.feed([*prompt, *answer[:-1]])[len(prompt) - 1 :].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        found.append(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    return found


def apart(exact: Sequence[Array], other: Sequence[Array]) -> tuple[float, float]:
    """The mean divergence from the exact distribution, in nats a token, and the share of equal greedy tokens."""
    p, q = np.concatenate(exact), np.concatenate(other)
    divergence = float((np.exp(p) * (p - q)).sum(-1).mean())
    return max(divergence, 0.0), float((p.argmax(-1) == q.argmax(-1)).mean())


class Bench:
    """One model at any plan, against its own fp32 graph."""

    def __init__(self, directory: Path, some: Sequence[Case]) -> None:
        self.config, self.weights = export.read(directory)
        self.names = list(export.matrices(self.config, self.weights))
        self.some = some
        self.exact = spread(self.decoder({}), some)

    def content(self, plan: Mapping[str, str]) -> bytes:
        content: bytes = export.build(self.config, self.weights, plan).SerializeToString(deterministic=True)
        return content

    def decoder(self, plan: Mapping[str, str]) -> reference.Decoder:
        return reference.Decoder(self.content(plan))

    def distance(self, plan: Mapping[str, str]) -> tuple[float, float]:
        return apart(self.exact, spread(self.decoder(plan), self.some))

    def sensitivity(self) -> dict[str, dict[str, float]]:
        """For each matrix, the divergence when only it is packed at each precision."""
        return {name: {bits: self.distance({name: bits})[0] for bits in packing.BITS} for name in self.names}

    def chosen(self, found: Mapping[str, Mapping[str, float]], cap: float) -> dict[str, str]:
        """As many int4 matrices as the cap allows, those that cost least a byte first, the rest int8."""
        sizes = {name: matrix.size for name, matrix in export.matrices(self.config, self.weights).items()}
        plan = dict.fromkeys(self.names, "int8")
        for name in sorted(self.names, key=lambda name: found[name]["int4"] / sizes[name]):
            trial = {**plan, name: "int4"}
            if self.distance(trial)[0] <= cap:
                plan = trial
        return plan


def latency(decoder: reference.Decoder, prompt: Sequence[int], repeats: int = 7) -> tuple[float, float]:
    """Milliseconds to read the prompt and, afterwards, for each token; one thread, the fastest of several."""
    reading, saying = [], []
    for _ in range(repeats):
        decoder.reset()
        started = time.perf_counter()
        token = int(decoder.feed(prompt)[-1].argmax())
        reading.append(time.perf_counter() - started)
        started = time.perf_counter()
        for _ in range(24):
            token = int(decoder.feed([token])[-1].argmax())
        saying.append((time.perf_counter() - started) / 24)
    return min(reading) * 1e3, min(saying) * 1e3


def exact_match(decoder: reference.Decoder, count: int) -> float:
    """Of the held-out questions that every report is made on, the share that is answered right when quoting."""
    builder = Prompts(TOKENIZER)
    samples = generator.heldout(count)
    right = 0
    for sample in samples:
        output = quoting.answer(decoder, builder, sample.question, sample.passages)
        right += output == builder.answer(sample.parts)[:-1]
    return right / len(samples)


def table(bench: Bench, plans: Mapping[str, Mapping[str, str]], count: int) -> list[dict[str, Any]]:
    """One row for each plan."""
    prompt = sorted((prompt for prompt, _ in bench.some), key=len)[len(bench.some) // 2]
    rows = []
    for name, plan in plans.items():
        content = bench.content(plan)
        decoder = reference.Decoder(content)
        divergence, agreed = bench.distance(plan)
        reading, saying = latency(decoder, prompt)
        rows.append(
            {
                "precision": name,
                "megabytes": round(len(content) / 1e6, 2),
                "exact when quoting": round(exact_match(decoder, count), 4),
                "divergence": float(f"{divergence:.2e}"),
                "same token": round(agreed, 4),
                f"read {len(prompt)} tokens, ms": round(reading, 2),
                "each token, ms": round(saying, 2),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--cap", type=float, default=2e-3, help="mean divergence from fp32 that the mixture may reach, nats"
    )
    parser.add_argument("--cases", type=int, default=48)
    parser.add_argument("--count", type=int, default=120, help="held-out questions for exact match")
    parser.add_argument("--keep", choices=("mixed", "int8", "int4", "fp32"), default="mixed")
    arguments = parser.parse_args()
    bench = Bench(arguments.directory, cases(arguments.cases, seed=77))
    found = bench.sensitivity()
    for name, row in sorted(found.items(), key=lambda pair: -pair[1]["int4"]):
        print(f"{name:12} int8 {row['int8']:.2e} int4 {row['int4']:.2e}", flush=True)
    plans: dict[str, dict[str, str]] = {"fp32": {}, **{bits: dict.fromkeys(bench.names, bits) for bits in packing.BITS}}
    plans["mixed"] = bench.chosen(found, arguments.cap)
    rows = table(bench, plans, arguments.count)
    kept = plans[arguments.keep]
    (arguments.directory / "precision.json").write_text(json.dumps(kept, indent=1) + "\n")
    figures = {"cap": arguments.cap, "kept": arguments.keep, "sensitivity": found, "rows": rows, "plan": plans["mixed"]}
    figures["median int4"] = statistics.median(row["int4"] for row in found.values())
    (arguments.directory / "quantisation.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
