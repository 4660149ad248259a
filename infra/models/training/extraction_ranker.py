"""Fits the weights of services/knowledge/extraction/ranker.py:
`python -m tidegate.infra.models.training.extraction_ranker DATA… OUT`.

DATA is JSON Lines of `{"text", "language", "schema", "truth"}`. Five folds by text calibrate the probabilities; the
weights that are written are those of all texts. Takes a minute on one core, needs no torch. Texts of several files are
learned from together."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.infra.models.data.field_texts import value_at
from tidegate.infra.models.training.lbfgs import minimise
from tidegate.services.knowledge.extraction.filler import leaves_of
from tidegate.services.knowledge.extraction.find import TextValues, same_value
from tidegate.services.knowledge.extraction.ranker import (
    FAMILIES,
    FamilyWeights,
    FieldRows,
    describe,
    group_of,
    names_of,
    rank,
)
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.text_view import TextView

FOLDS = 5
STEPS = 60
DECAY, DECAY_OF_DATES, DECAY_ABSENT = 0.02, 0.04, 1e-4
"""Chosen in cross-validation."""
POOLED = {"pattern": "small", "time": "small", "address": "small"}
"""Families with few examples, which learn together and are calibrated apart."""
SLOPE, PRIOR = 0.5, 10.0
"""The slope of a calibration that few examples say nothing about, and how much it weighs."""
Array = npt.NDArray[np.float64]


class Example(msgspec.Struct, frozen=True):
    """One field of one text: its candidates' features, which of them are right, and the text's number."""

    rows: FieldRows
    is_right: npt.NDArray[np.bool_]
    is_absent: bool
    text: int


def read_examples(paths: Sequence[Path]) -> Iterator[Example]:
    """The fields of every text outside of arrays."""
    lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        record = json.loads(line)
        schema = Schema(json.dumps(record["schema"]))
        values, view = TextValues(record["text"], record["language"]), TextView(record["text"])
        asked = leaves_of(schema.field)
        for each in asked:
            truth = value_at(record["truth"], each.field.path)
            rows = describe(each, asked, schema, values, view)
            right = [truth is not None and same_value(one.value, truth) for one in rows.candidates]
            yield Example(rows, np.array(right, dtype=bool), truth is None, number)


def fit(examples: list[Example], group: str) -> FamilyWeights:
    """Maximise the likelihood of the right candidates, or of absence, with an L2 penalty."""
    usable = [each for each in examples if each.is_absent or each.is_right.any()]
    width = len(names_of(group))
    stacked = np.concatenate([each.rows.rows.reshape(-1, width) for each in examples])
    mean, scale = stacked.mean(axis=0), stacked.std(axis=0) + 1e-3
    flat = np.concatenate([each.rows.rows.reshape(-1, width) for each in usable])
    flat = ((flat - mean) / scale).astype(np.float32)
    counts = np.array([len(each.rows.candidates) for each in usable])
    owner = np.repeat(np.arange(len(usable)), counts)
    right = np.concatenate([each.is_right for each in usable]) if len(flat) else np.zeros(0, dtype=bool)
    absent = np.array([each.rows.absent for each in usable])
    is_absent = np.array([each.is_absent for each in usable])

    decay = DECAY_OF_DATES if group == "date" else DECAY

    def loss(both: Array) -> tuple[float, Array]:
        weights, away = both[:width], both[width:]
        logits = (flat @ weights.astype(np.float32)).astype(np.float64)
        shares, none = shares_of(logits, absent @ away, owner, len(usable))
        mass = np.maximum(np.bincount(owner, shares * right, len(usable)) + none * is_absent, 1e-12)
        pull = (shares * right / mass[owner] - shares).astype(np.float32)
        pull_none = none * is_absent / mass - none
        slope = -(pull @ flat).astype(np.float64) / len(usable) + 2 * decay * weights
        slope_away = -(pull_none @ absent) / len(usable) + 2 * DECAY_ABSENT * away
        penalty = decay * weights @ weights + DECAY_ABSENT * away @ away
        return float(-np.log(mass).mean() + penalty), np.concatenate([slope, slope_away])

    both = minimise(loss, np.zeros(width + absent.shape[1]), STEPS)
    rounded = [[round(float(each), 5) for each in array] for array in (mean, scale, both[:width], both[width:])]
    return FamilyWeights(rounded[0], rounded[1], rounded[2], rounded[3])


def shares_of(logits: Array, none: Array, owner: npt.NDArray[np.int64], count: int) -> tuple[Array, Array]:
    """The probabilities of the candidates of `count` fields, told by `owner`, and of their absences."""
    most = none.copy()
    np.maximum.at(most, owner, logits)
    raised, raised_none = np.exp(logits - most[owner]), np.exp(none - most)
    total = np.bincount(owner, raised, count) + raised_none
    return raised / total[owner], raised_none / total


def predict(example: Example, weights: FamilyWeights) -> tuple[float, bool]:
    """The probability of the likeliest value, and whether it is right."""
    ranked = rank(example.rows, weights)
    logits = ranked.logits
    shares, absent = shares_of(logits, np.array([ranked.absent]), np.zeros(len(logits), dtype=np.int64), 1)
    by_value: dict[str, list[float]] = {}
    for candidate, share, right in zip(example.rows.candidates, shares, example.is_right, strict=True):
        entry = by_value.setdefault(repr(candidate.value), [0.0, float(right)])
        entry[0] += float(share)
    best = max(by_value.values(), default=[0.0, 0.0])
    if best[0] <= absent[0]:
        return float(absent[0]), example.is_absent
    return best[0], bool(best[1])


def calibrate(predictions: list[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and offset of the logit that make probabilities come true (Platt 1999)."""
    shares = np.clip(np.array([share for share, _ in predictions]), 1e-4, 1 - 1e-4)
    came_true = np.array([right for _, right in predictions], dtype=float)
    logits = np.log(shares / (1 - shares))
    slope, offset = 1.0, 0.0
    for _ in range(3000):
        error = 1 / (1 + np.exp(-(slope * logits + offset))) - came_true
        slope -= 0.05 * (float((error * logits).mean()) + PRIOR / len(logits) * (slope - SLOPE))
        offset -= 0.05 * float(error.mean())
    return round(slope, 4), round(offset, 4)


def main() -> int:
    """Print the share of fields that are right in cross-validation, by family, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cross-fitted", type=Path, help="also write the weights of each fold, and each text's fold")
    given = parser.parse_args()
    examples = [*read_examples(given.data)]
    order = np.random.default_rng(9).permutation(1 + max(each.text for each in examples)) % FOLDS
    fitted: dict[str, FamilyWeights] = {}
    cross: list[dict[str, FamilyWeights]] = [{} for _ in range(FOLDS)]
    for pool in dict.fromkeys(POOLED.get(group, group) for group in FAMILIES):
        groups = [group for group in FAMILIES if POOLED.get(group, group) == pool]
        own = [each for each in examples if group_of(each.rows.asked.family) in groups]
        parts = [fit([each for each in own if order[each.text] != fold], groups[0]) for fold in range(FOLDS)]
        whole = fit(own, groups[0])
        for group in groups:
            mine = [each for each in own if group_of(each.rows.asked.family) == group]
            predictions = [predict(each, parts[order[each.text]]) for each in mine]
            slope, offset = calibrate(predictions)
            fitted[group] = msgspec.structs.replace(whole, slope=slope, offset=offset)
            for fold, part in enumerate(parts):
                cross[fold][group] = msgspec.structs.replace(part, slope=slope, offset=offset)
            print(
                f"{group:<10}{sum(right for _, right in predictions):>5} of {len(mine)}  slope {slope} offset {offset}"
            )
    if given.cross_fitted:
        whole_file = {"folds": cross, "texts": [int(fold) for fold in order]}
        given.cross_fitted.write_bytes(msgspec.json.encode(whole_file))
    given.out.write_bytes(msgspec.json.format(msgspec.json.encode(fitted), indent=0) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
