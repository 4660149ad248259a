"""Decoding under the one rule that an answer has to keep: behind a mark, to the letter, a sentence of that passage.

The model decides what to cite and which sentence, or that nothing answers; it cannot misquote. No torch.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import generator
from tidegate.infra.models.data.prompts import EOS, MARKS, NONE, Prompts
from tidegate.infra.models.export import causal_lm as export
from tidegate.infra.models.export import reference

Node = dict[int, Any]
END = -1
BOUNDARY = re.compile(r"(?<=[.?!]) (?=\S)")


def sentences(passage: str) -> list[str]:
    """The sentences of a passage; a row of a table is one."""
    return [passage] if "|" in passage else BOUNDARY.split(passage)


def tree(builder: Prompts, texts: Sequence[str]) -> Node:
    """Every sentence as a path of tokens; `END` where one is complete."""
    root: Node = {}
    for text in texts:
        node = root
        for token in builder.text(" " + text):
            node = node.setdefault(token, {})
        node[END] = {}
    return root


def answer(decoder: reference.Decoder, builder: Prompts, question: str, passages: Sequence[str]) -> list[int]:
    """The model's greedy answer among those that quote: at most two citations, without `<|eos|>`."""
    trees = {mark: tree(builder, sentences(passage)) for mark, passage in zip(MARKS, passages, strict=False)}
    space = builder.text(" ")
    decoder.reset()
    logits = decoder.feed(builder.question(question, passages))[-1]
    output: list[int] = []
    node: Node = {**trees, NONE: {END: {}}}
    cited: list[int] = []
    while True:
        allowed = [token for token in node if token != END]
        if END in node:
            allowed.append(EOS)
            if len(cited) == 1 and len(trees) > 1:
                allowed += space
        token = max(allowed, key=lambda option: float(logits[option]))
        if token == EOS:
            return output
        if token in trees and node.get(token) is trees[token]:
            cited.append(token)
        if END in node and [token] == space and token not in node:
            node = {mark: found for mark, found in trees.items() if mark not in cited}
        else:
            node = node[token]
        output.append(token)
        logits = decoder.feed([token])[-1]


def exact(directory: Path, count: int) -> dict[str, float]:
    """The share of held-out questions that are answered right to the last character, by kind, as shipped."""
    builder = Prompts(TOKENIZER)
    config, weights = export.read(directory)
    planned = directory / "precision.json"
    plan = json.loads(planned.read_text()) if planned.exists() else {}
    decoder = reference.Decoder(export.build(config, weights, plan).SerializeToString())
    right: dict[str, list[bool]] = defaultdict(list)
    for sample in generator.heldout(count):
        output = answer(decoder, builder, sample.question, sample.passages)
        right[sample.kind].append(output == builder.answer(sample.parts)[:-1])
    shares = {kind: round(sum(rows) / len(rows), 4) for kind, rows in right.items()}
    return {"all": round(sum(map(sum, right.values())) / count, 4), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=420)
    arguments = parser.parse_args()
    found = exact(arguments.directory, arguments.count)
    print(json.dumps(found))
    path = arguments.directory / "figures.json"
    if path.exists():
        figures = json.loads(path.read_text())
        figures["quoting"] = {**found, "count": arguments.count}
        path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
