"""Decides which of the groups of words are a name or an address: a logistic model over their features.

Hashed features: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009. Next: person_model.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from tidegate.services.privacy.dlp.person_words import FloatArray

BUCKETS = 8192
DENSE = 27


def hash_keys(keys: Sequence[str]) -> list[int]:
    """The bucket of each key."""
    return [crc32(key.encode()) % BUCKETS for key in keys]


class SpanFilter(NamedTuple):
    """Weights, and the score from which a group counts. A score is the logarithm of the odds."""

    dense: FloatArray
    hashed: FloatArray
    threshold: float

    @classmethod
    def of(cls, weights: Mapping[str, FloatArray], name: str) -> SpanFilter:
        """The filter `name` of a file of weights. Raises `KeyError`, and `ValueError` for one of other features."""
        dense, hashed = weights[f"{name}.dense"], weights[f"{name}.hashed"]
        if hashed.shape != (BUCKETS,) or dense.shape != (DENSE,):
            raise ValueError("its filter was made for other features")
        return cls(dense, hashed, float(weights[f"{name}.threshold"][0]))

    def score(self, dense: FloatArray, keys: Sequence[str]) -> float:
        """How likely the group is one: above `threshold` it is taken for one."""
        return float(dense @ self.dense + self.hashed[hash_keys(keys)].sum())
