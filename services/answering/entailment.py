"""The chance that evidence bears a sentence out: a logistic model over what rules find in the two.

Card: infra/models/weights/entailment/MODEL_CARD.md. Promises a score in 0…1 and the threshold that it was chosen with.
Next: `sentence_check`, which makes the row; infra/models/training/entailment.py, which fits the weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

from tidegate.services.knowledge.reader.logistic import Logistic


class EntailmentModel(msgspec.Struct, frozen=True, kw_only=True):
    """Weights over the named features; what scores less than `threshold` is not borne out."""

    features: tuple[str, ...]
    threshold: float
    model: Logistic

    def score(self, row: Mapping[str, float]) -> float:
        """0 … 1. Raises `KeyError` for a row without one of the features."""
        return self.model.chance([row[name] for name in self.features])

    def weigh(self, part: Mapping[str, float]) -> float:
        """What some of the features add to the log odds; 0.0 where all of them are 0.0."""
        parts = zip(self.features, self.model.weights, self.model.spread, strict=True)
        return sum(part[name] * weight / spread for name, weight, spread in parts if name in part)


@cache
def load_entailment() -> EntailmentModel:
    """The weights that are shipped."""
    data = (files("tidegate.services.answering") / "entailment.json").read_bytes()
    return msgspec.json.decode(data, type=EntailmentModel)
