"""Fits what is made of the field reader's scores: `python -m tidegate.infra.models.training.field_weights DATA…
--ranker WEIGHTS --cross-fitted CROSS --read READ… --out extract.json`.

WEIGHTS and CROSS are those of extraction_ranker.py over the same DATA, READ what training/field_reader.py read of some
or all of its texts, by nets that had not seen them. Four numbers a family are fitted: what the ranker's logits count,
what the scores of values and of absence do, and how likely absence is. Needs no torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.infra.models.training.extraction_ranker import Example, calibrate, predict, read_examples, shares_of
from tidegate.infra.models.training.lbfgs import minimise
from tidegate.services.knowledge.extraction.field_reader import scores_of
from tidegate.services.knowledge.extraction.ranker import (
    FAMILIES,
    FamilyWeights,
    group_of,
    names_of,
    rank,
    with_scores,
)

START = np.array([0.7, 0.7, 0.7, 0.0])
PULL = 4.0
"""How many fields' worth the numbers that are fitted are drawn to those that they start from."""
STEPS = 40

Array = npt.NDArray[np.float64]
Readings = dict[tuple[int, str], Array]


class ReadField(msgspec.Struct, frozen=True):
    """What was read of a field of a text: the log-odds of each of its values against its absence."""

    text: int
    path: str
    odds: list[float]


class Mix(NamedTuple):
    """What counts how much: the ranker, the score of a value, that of absence; and what is added to absence."""

    ranker: float
    value: float
    absence: float
    absent: float


ALONE = Mix(1.0, 0.0, 0.0, 0.0)
"""What a family keeps of which not more fields are right with what was read."""


def load_readings(paths: Sequence[Path]) -> Readings:
    """The log-odds by text and path; of several readings of one the mean."""
    found: dict[tuple[int, str], list[list[float]]] = {}
    for path in paths:
        for each in msgspec.json.decode(path.read_bytes(), type=list[ReadField]):
            found.setdefault((each.text, each.path), []).append(each.odds)
    return {key: np.mean(each, axis=0) for key, each in found.items()}


def combine(weights: FamilyWeights, mix: Mix, group: str) -> FamilyWeights:
    """The ranker's weights with those of what was read, which come last."""
    own = [round(mix.ranker * each, 5) for each in weights.weights]
    absent = [round(mix.ranker * each, 5) for each in weights.absent]
    absent[0] = round(absent[0] + mix.absent, 5)
    if len(own) != len(names_of(group)):
        raise ValueError(f"the ranker's weights of {group} are of {len(own)} features, not of {len(names_of(group))}")
    return msgspec.structs.replace(
        weights,
        mean=[*weights.mean, 0.0],
        scale=[*weights.scale, 1.0],
        weights=[*own, round(mix.value, 5)],
        absent=[*absent, round(mix.absence, 5)],
    )


def fit_mix(examples: Sequence[Example], weights: Sequence[FamilyWeights], readings: Readings) -> Mix:
    """The likeliest numbers; `weights` rank each example and have not seen it."""
    usable = [(each, own) for each, own in zip(examples, weights, strict=True) if each.is_absent or each.is_right.any()]
    if not usable:
        return Mix(*START.tolist())
    ranked = [rank(each.rows, own) for each, own in usable]
    learned = [_learned(each, own) for each, own in usable]
    scores = [scores_of(each.rows, readings[each.text, each.rows.asked.field.path]) for each, _ in usable]
    owner = np.repeat(np.arange(len(usable)), [len(each) for each in learned])
    own, read = np.concatenate(learned), np.concatenate([each.candidates for each in scores])
    fixed = np.concatenate([each.logits for each in ranked]) - own
    right = np.concatenate([each.is_right for each, _ in usable]).astype(float)
    none, unread = np.array([each.absent for each in ranked]), np.array([each.absent for each in scores])
    is_absent = np.array([each.is_absent for each, _ in usable])

    def loss(mix: Array) -> tuple[float, Array]:
        absent = mix[0] * none + mix[2] * unread + mix[3]
        shares, away = shares_of(mix[0] * own + mix[1] * read + fixed, absent, owner, len(usable))
        mass = np.maximum(np.bincount(owner, shares * right, len(usable)) + away * is_absent, 1e-12)
        pull, pull_none = shares * right / mass[owner] - shares, away * is_absent / mass - away
        slopes = [pull @ own + pull_none @ none, pull @ read, pull_none @ unread, pull_none.sum()]
        apart = mix - START
        value = -np.log(mass).sum() + PULL * apart @ apart
        return float(value) / len(usable), (2 * PULL * apart - np.array(slopes)) / len(usable)

    return Mix(*minimise(loss, START, STEPS).tolist())


def _learned(example: Example, weights: FamilyWeights) -> Array:
    """The part of the ranker's logits that was learned."""
    if not example.rows.candidates:
        return np.zeros(0)
    scaled: Array = (example.rows.rows - np.array(weights.mean)) / np.array(weights.scale)
    logits: Array = scaled @ np.array(weights.weights)
    return logits


def fit_family(
    group: str, examples: Sequence[Example], cross: Sequence[FamilyWeights], readings: Readings
) -> tuple[Mix, list[tuple[float, bool]]]:
    """What counts how much, and the probability of each field's likeliest value with whether it is right."""
    mix = fit_mix(examples, cross, readings)
    predictions = []
    for each, own in zip(examples, cross, strict=True):
        scores = scores_of(each.rows, readings[each.text, each.rows.asked.field.path])
        read = msgspec.structs.replace(each, rows=with_scores(each.rows, scores))
        predictions.append(predict(read, combine(own, mix, group)))
    return mix, predictions


def fit_all(
    examples: Sequence[Example], ranker: Mapping[str, FamilyWeights], cross: dict[str, Any], readings: Readings
) -> dict[str, FamilyWeights]:
    """The weights of every family; prints how many fields are right with what was read and by the ranker alone."""
    folds = [msgspec.convert(each, dict[str, FamilyWeights]) for each in cross["folds"]]
    fold_of = dict(enumerate(cross["texts"]))  # what the ranker was not fitted on may be ranked by any of them
    fitted = {}
    for group in FAMILIES:
        own = [each for each in examples if group_of(each.rows.asked.family) == group]
        parts = [folds[fold_of.get(each.text, 0)][group] for each in own]
        alone = [predict(each, part) for each, part in zip(own, parts, strict=True)]
        mix, predictions = fit_family(group, own, parts, readings)
        right, before = (sum(is_right for _, is_right in each) for each in (predictions, alone))
        print(f"{group:<10}{right:>5} of {len(own)}, {before} alone  {' '.join(f'{each:.2f}' for each in mix)}")
        if right <= before:
            mix, predictions = ALONE, alone
        slope, offset = calibrate(predictions)
        fitted[group] = msgspec.structs.replace(combine(ranker[group], mix, group), slope=slope, offset=offset)
    return fitted


def main() -> int:
    """Print how many fields are right, each by weights that have not seen it, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--ranker", type=Path, required=True, help="what extraction_ranker wrote")
    parser.add_argument("--cross-fitted", type=Path, required=True, help="what it wrote of each fold")
    parser.add_argument("--read", type=Path, nargs="+", required=True, help="what field_reader read")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    readings = load_readings(given.read)
    known = {number for number, _ in readings}
    examples = [each for each in read_examples(given.data) if each.text in known]
    ranker = msgspec.json.decode(given.ranker.read_bytes(), type=dict[str, FamilyWeights])
    fitted = fit_all(examples, ranker, json.loads(given.cross_fitted.read_bytes()), readings)
    given.out.write_bytes(msgspec.json.format(msgspec.json.encode(fitted), indent=0) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
