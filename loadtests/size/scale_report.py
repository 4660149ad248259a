"""The points of a curve: what a fleet does at one size, and how they compare. Pure. Next: scale.py, which measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from tidegate.services.evaluation.load_report import percentiles_ms
from tidegate.services.evaluation.open_loop import LoadSample

Curve = Literal["workers", "sites", "documents"]


class LoadLevel(msgspec.Struct, frozen=True, kw_only=True):
    """So many requests in flight: answers a second, and the p95 in milliseconds; `failed` were not answered."""

    at_once: int
    per_s: float
    p95_ms: float
    failed: int = 0


class ScalePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One size. `best` is the level with most answers a second whose p95 is within the budget, None where no level is.
    Memory is PSS in MiB of a site with its server; bytes are of a request, in the streams of all domains, and over the
    link; of an index, on its disk for a document. `cpu_ms` is the work of all processes for a request."""

    curve: Curve
    count: int
    best: LoadLevel | None
    site_mib: float
    cpu_ms: float
    stored_bytes: float
    link_bytes: float = 0.0


def level_of(samples: Sequence[LoadSample], took_s: float, at_once: int) -> LoadLevel:
    """What one level came to."""
    answered = [sample.final_s for sample in samples if sample.became not in ("refused", "failed")]
    return LoadLevel(
        at_once=at_once,
        per_s=round(len(answered) / took_s, 2),
        p95_ms=percentiles_ms(answered).get("p95", 0.0),
        failed=len(samples) - len(answered),
    )


def find_best(levels: Iterable[LoadLevel], budget_ms: float) -> LoadLevel | None:
    """The level with most answers a second of those that answered all, 95 of 100 within the budget."""
    kept = [level for level in levels if level.p95_ms <= budget_ms and not level.failed and level.per_s]
    return max(kept, key=lambda level: level.per_s, default=None)


def rows_of(points: Sequence[ScalePoint]) -> list[tuple[str, ...]]:
    """A line for each point; the rate also as a multiple of its curve's first point."""
    firsts = {point.curve: point.best for point in reversed(points)}
    rows = []
    for point in points:
        best, first = point.best, firsts[point.curve]
        rate = (f"{best.per_s:.1f}", f"{best.p95_ms:.0f}", str(best.at_once)) if best else ("-", "-", "-")
        times = f"{best.per_s / first.per_s:.2f}" if best and first else "-"
        costs = (point.site_mib, point.cpu_ms, point.stored_bytes, point.link_bytes)
        rows.append((point.curve, str(point.count), *rate, times, *(f"{cost:.0f}" for cost in costs)))
    return rows
