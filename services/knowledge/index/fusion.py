"""Makes one ranking of several. Next: hybrid.py."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

RankedItem = TypeVar("RankedItem", bound=Hashable)
RANK_CONSTANT = 60


def fuse_rankings(*rankings: Sequence[RankedItem]) -> list[tuple[RankedItem, float]]:
    """Reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), k = 60: keys with their score, best first.

    A key scores the sum of 1 / (60 + rank) over the rankings that hold it; ties keep the order of first appearance.
    """
    scores: dict[RankedItem, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
