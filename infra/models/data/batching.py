"""Examples in batches of about one length: what to predict, how much it weighs, and where to look for it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tidegate.infra.models.data import copying, generator, guiding

DECISIVE = frozenset((copying.NONE, *copying.MARKS))
TRUTHS = ("verdicts", "firsts", "things", "attributes")
POOL = 24
STRIDE = 64

Example = tuple[list[int], list[int], guiding.Guide]
Row = tuple[list[int], list[float], guiding.Guide]


@dataclass(frozen=True)
class Batch:
    """`ids`, `wanted`, `weights` are (rows, tokens) in whole strides; the rest (n, 3): row, place, place or truth."""

    ids: Tensor
    wanted: Tensor
    weights: Tensor
    sources: Tensor
    sentences: Tensor
    truths: Mapping[str, Tensor]
    echoes: Tensor


def row(r: random.Random, example: Example, reading: float) -> Row:
    """Ids and the weight of each as something to predict: a citation decides all that follows."""
    prompt, answer, guide = example
    cited = 8.0 if sum(token in DECISIVE for token in answer) < 3 else 0.0  # marks of a recital are anybody's guess
    weights = [cited if token in DECISIVE else 1.0 for token in answer]
    outcome = 0.08 if r.random() < reading else 0.0
    return prompt + answer, [outcome] * len(prompt) + weights, guide


def triples(rows: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
    """The pairs of each row with the row's number before them, (n, 3)."""
    every = [(number, one, other) for number, pairs in enumerate(rows) for one, other in pairs]
    return torch.tensor(every, dtype=torch.int64).view(-1, 3)


def batch(rows: Sequence[Row], width: int) -> Batch:
    """Rows as tensors `width` tokens wide."""
    ids = torch.zeros(len(rows), width + 1, dtype=torch.int64)
    weights = torch.zeros(len(rows), width + 1)
    for number, (row_ids, row_weights, _) in enumerate(rows):
        ids[number, : len(row_ids)] = torch.tensor(row_ids)
        weights[number, : len(row_ids)] = torch.tensor(row_weights)
    guides = [guide for _, _, guide in rows]
    return Batch(
        ids[:, :-1],
        ids[:, 1:],
        weights[:, 1:],
        triples([guide.sources for guide in guides]),
        triples([guide.sentences for guide in guides]),
        {name: triples([getattr(guide, name) for guide in guides]) for name in TRUTHS},
        triples([guide.echoes for guide in guides]),
    )


def stretched(ids: Sequence[int]) -> int:
    """How many tokens the row takes as input, in whole strides."""
    return math.ceil((len(ids) - 1) / STRIDE) * STRIDE


def batches(r: random.Random, draw: Callable[[], Example], size: int, reading: float) -> Iterator[Batch]:
    """Endless full batches of about `size` tokens, each of rows of about one length: few shapes, little padding."""
    rows: list[Row] = []
    while True:
        total = sum(len(ids) for ids, _, _ in rows)
        while total < size * POOL:
            rows.append(row(r, draw(), reading))
            total += len(rows[-1][0])
        by_width: dict[int, list[Row]] = {}
        for one in rows:
            by_width.setdefault(stretched(one[0]), []).append(one)
        packs: list[Batch] = []
        rows = []
        for width, alike in by_width.items():
            count = max(1, size // width)
            whole = len(alike) - len(alike) % count
            packs += [batch(alike[start : start + count], width) for start in range(0, whole, count)]
            rows += alike[whole:]
        r.shuffle(packs)
        yield from packs


def source(r: random.Random, copies: float, hard: float, vocabulary: int) -> Callable[[], Example]:
    """Draws questions and texts to extract from, and a share of copy tasks."""
    training = generator.Training()

    def draw() -> Example:
        if r.random() < copies:
            prompt, answer = copying.example(r, vocabulary, hard)
            return prompt, answer, guiding.answering(prompt, answer)
        return training.guided(r)

    return draw
