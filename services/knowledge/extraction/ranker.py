"""How likely each candidate is the value that a field asks for, by weights learned from examples.

A conditional logit over a field's candidates and "the text does not say it", one for each family of values. The weights
are fitted by infra/models/training/extraction_ranker.py, and by field_weights.py beside it where fields were read.
Promises probabilities that sum to one. Next: filler.py."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.choices import (
    BOOLEAN_FEATURES,
    OPTION_FEATURES,
    find_booleans,
    find_options,
)
from tidegate.services.knowledge.extraction.features import FieldFeatures, feature_names
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.terms import FieldQuery, nothing_said
from tidegate.services.knowledge.extraction.text_view import TextView

FAMILIES = ("number", "date", "string", "pattern", "time", "address", "boolean", "enum")
EXACT_LABEL = 6.0
"""How much more likely (as a logit) a value is behind the field's own words to the letter, beside what was learned; and
that there is none, where a word for nothing stands there."""
ABSENT_FEATURES = ("always", "named", "nullable", "nullable_unnamed", "no_candidate", "said_missing", "denied")


class FamilyWeights(msgspec.Struct, frozen=True):
    """What weighs each feature of one family, after it is centred and scaled; `slope` and `offset` calibrate."""

    mean: list[float]
    scale: list[float]
    weights: list[float]
    absent: list[float]
    slope: float = 1.0
    offset: float = 0.0


class Ranked(msgspec.Struct, frozen=True):
    """A field's candidates with the logit of each, and the logit of the text not saying it."""

    asked: FieldQuery
    candidates: tuple[ValueCandidate, ...]
    logits: npt.NDArray[np.float64]
    absent: float


class FieldRows(msgspec.Struct, frozen=True):
    """A field's candidates with their features, and the features of its absence; what the weights are fitted on."""

    asked: FieldQuery
    candidates: list[ValueCandidate]
    rows: npt.NDArray[np.float64]
    absent: list[float]


class FieldScores(NamedTuple):
    """What an encoder read of a field: the logarithm of the share of each candidate, and of its absence."""

    candidates: npt.NDArray[np.float64]
    absent: float


HIDDEN_FITS = 7.0
"""The same for a vault token that hides what the field asks for: the training texts have none."""
_NAMED = 0.6


@cache
def load_weights() -> dict[str, FamilyWeights]:
    """The shipped weights, by family."""
    data = (files("tidegate.services.knowledge.extraction") / "weights.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, FamilyWeights])


def group_of(family: str) -> str:
    """The family whose weights are used for a family."""
    return "time" if family == "date-time" else family


def names_of(group: str) -> tuple[str, ...]:
    """The features of a family, in order."""
    return {"boolean": BOOLEAN_FEATURES, "enum": OPTION_FEATURES}.get(group, feature_names())


def describe(
    asked: FieldQuery, siblings: list[FieldQuery], schema: Schema, values: TextValues, view: TextView
) -> FieldRows:
    """The candidates of a field and their features; `siblings` are the other fields of the same object."""
    if asked.family == "boolean":
        candidates, rows = find_booleans(asked, view)
        named = float(rows[:, 0].max()) if len(rows) else 0.0
    elif asked.family == "enum":
        candidates, rows = find_options(asked, view)
        named = float(rows[:, 0].max()) if len(rows) else 0.0
    else:
        candidates = values.candidates(asked, schema)
        rivals = [each for each in siblings if each is not asked and group_of(each.family) == group_of(asked.family)]
        features = FieldFeatures(asked, view, rivals)
        rows, named = features.rows(candidates), features.best_anywhere()
    is_nullable = float(asked.field.is_nullable or not asked.field.is_required)
    absent = [1.0, named, is_nullable, is_nullable * (1 - named), float(not candidates)]
    absent += [is_nullable * each for each in nothing_said(asked, view)]
    return FieldRows(asked, candidates, rows, absent)


def with_scores(described: FieldRows, scores: FieldScores) -> FieldRows:
    """The same with one feature more, the last: what an encoder read. The weights are then those that go with it."""
    width = len(names_of(group_of(described.asked.family)))
    rows = np.column_stack([described.rows.reshape(-1, width), scores.candidates])
    return FieldRows(described.asked, described.candidates, rows, [*described.absent, scores.absent])


def rank(described: FieldRows, weights: FamilyWeights | None = None) -> Ranked:
    """The logits of a field's candidates, by the shipped weights where none are given."""
    weights = weights or load_weights()[group_of(described.asked.family)]
    absent = float(np.dot(weights.absent, described.absent))
    absent += EXACT_LABEL * described.absent[ABSENT_FEATURES.index("said_missing")]
    if not described.candidates:
        return Ranked(described.asked, (), np.zeros(0), absent)
    scaled = (described.rows - np.array(weights.mean)) / np.array(weights.scale)
    logits = scaled @ np.array(weights.weights)
    names = names_of(group_of(described.asked.family))
    if "exact_label" in names:
        logits = logits + EXACT_LABEL * _behind_label(described, names)
        logits = logits + HIDDEN_FITS * described.rows[:, names.index("token_fits")]
    elif "said_yes" in names:
        logits = logits + EXACT_LABEL * _said_so(described.rows, names)
    return Ranked(described.asked, tuple(described.candidates), logits, absent)


def _behind_label(described: FieldRows, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Which candidates stand behind the field's own words; of strings the one that ends where the value behind a label
    does."""
    behind = described.rows[:, names.index("exact_label")]
    if described.asked.family == "string" and behind.any():
        whole = described.rows[:, names.index("is_label_value")] + described.rows[:, names.index("is_token")]
        return behind * whole if (behind * whole).any() else behind
    return behind


def _said_so(rows: npt.NDArray[np.float64], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Where yes or no stands right behind the field's words: 1 for the value that it says."""
    yes, no = rows[:, names.index("said_yes")] > 0, rows[:, names.index("said_no")] < 0
    is_named = rows[:, names.index("coverage")] > _NAMED
    return ((yes | no) & is_named).astype(np.float64)


def calibrated(weights: FamilyWeights, probability: float) -> float:
    """How often a value of that probability is right."""
    clipped = min(max(probability, 1e-4), 1 - 1e-4)
    logit = float(np.log(clipped / (1 - clipped)))
    return float(1 / (1 + np.exp(-(weights.slope * logit + weights.offset))))
