"""Fills the fields of one object from one text, all together: no characters are the value of two fields.

Promises that each value stands in the text and is valid for its field. Next: arrays.py, extraction.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.ranker import (
    FamilyWeights,
    FieldRows,
    Ranked,
    calibrated,
    describe,
    group_of,
    load_weights,
    rank,
)
from tidegate.services.knowledge.extraction.schema import Field, Schema
from tidegate.services.knowledge.extraction.terms import FieldQuery, asked_of
from tidegate.services.knowledge.extraction.text_view import TextView

_TAKEN = 3.0
"""How much less likely (as a logit) a candidate is whose characters are another field's value already."""
IN_DOUBT = 0.4
_DOUBTFUL = frozenset({"date_in_doubt", "unnamed", "unsaid"})
"""A date of which either number could be the month, a yes or no in a clause that does not name its subject, and an
option that the text does not name."""
_EXCLUSIVE = frozenset({"number", "date", "string", "pattern", "time"})


class FilledField(msgspec.Struct, frozen=True):
    """A field with its value, `None` where the text does not say it; characters `start` to `end` say it."""

    field: Field
    value: Any
    start: int
    end: int
    confidence: float

    @property
    def is_absent(self) -> bool:
        """Whether no value was found."""
        return self.value is None


def leaves_of(field: Field, parents: tuple[str, ...] = ()) -> list[FieldQuery]:
    """The values that an object asks for, those of objects inside it too; arrays are not among them."""
    if field.kind == "object":
        above = (*parents, field.name) if field.name else parents
        return [leaf for each in field.properties for leaf in leaves_of(each, above)]
    return [] if field.kind == "array" else [asked_of(field, parents)]


def fill(asked: list[FieldQuery], schema: Schema, values: TextValues, view: TextView) -> list[FilledField]:
    """The most likely value of each field by the ranker alone; see `choose`."""
    return choose([describe(each, asked, schema, values, view) for each in asked], load_weights())


def choose(described: Sequence[FieldRows], weights: Mapping[str, FamilyWeights]) -> list[FilledField]:
    """The most likely value of each field, the surest first, each excluding its characters from the others."""
    open_fields = [rank(each, weights[group_of(each.asked.family)]) for each in described]
    taken: list[ValueCandidate] = []
    filled: dict[int, FilledField] = {}
    while open_fields:
        best = max(((*_best(ranked, taken), n) for n, ranked in enumerate(open_fields)), key=lambda each: each[1])
        chosen, probability, n = best
        ranked = open_fields.pop(n)
        family = ranked.asked.family
        confidence = calibrated(weights[group_of(family)], probability)
        if chosen is not None and chosen.start >= chosen.end:
            chosen = None  # an option that the text does not name is nothing that it says
        if chosen is None:
            filled[id(ranked.asked)] = FilledField(ranked.asked.field, None, 0, 0, confidence)
            continue
        if group_of(family) in _EXCLUSIVE:
            taken.append(chosen)
        if chosen.shape in _DOUBTFUL:
            confidence = min(confidence, IN_DOUBT)
        start, end = chosen.start, chosen.end
        filled[id(ranked.asked)] = FilledField(ranked.asked.field, chosen.value, start, end, confidence)
    return [filled[id(each.asked)] for each in described]


def _best(ranked: Ranked, taken: list[ValueCandidate]) -> tuple[ValueCandidate | None, float]:
    """The likeliest value and its probability, the same value at several places added up; None for none."""
    logits = np.append(ranked.logits, ranked.absent)
    if group_of(ranked.asked.family) in _EXCLUSIVE:
        used = [any(each.overlaps(other.start, other.end) for other in taken) for each in ranked.candidates]
        logits[:-1] -= _TAKEN * np.array(used, dtype=float)
    shares = _softmax(logits)
    by_value: dict[str, float] = {}
    for candidate, share in zip(ranked.candidates, shares[:-1], strict=True):
        by_value[repr(candidate.value)] = by_value.get(repr(candidate.value), 0.0) + float(share)
    most = max(by_value, key=lambda each: by_value[each], default="")
    if not most or by_value[most] <= shares[-1]:
        return None, float(shares[-1])
    own = [(share, candidate) for candidate, share in zip(ranked.candidates, shares, strict=False)
        if repr(candidate.value) == most]  # fmt: skip
    return max(own, key=lambda each: each[0])[1], by_value[most]


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    raised = np.exp(logits - logits.max())
    shares: npt.NDArray[np.float64] = raised / raised.sum()
    return shares
