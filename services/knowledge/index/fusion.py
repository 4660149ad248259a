"""Makes one ranking of those of both legs. Pure; next: hybrid.py, which asks the legs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

LEAST_DEPTH = 8
"""A leg brings its k best, and never fewer than this: what is far down in both legs must not beat the best of one."""
RANK_CONSTANT = 60
RankedItem = TypeVar("RankedItem", bound=Hashable)


def fuse_rankings(*rankings: Sequence[RankedItem]) -> list[tuple[RankedItem, float]]:
    """Reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), k = 60: keys with their score, best first.

    A key scores the sum of 1 / (60 + rank) over the rankings that hold it; ties keep the order of first appearance.
    """
    scores: dict[RankedItem, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
