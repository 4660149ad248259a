"""What an open loop of requests came to: counts, percentiles, and why what was not answered was not.

Next: open_loop.py, which sends them; services/cli/bench.py, which prints it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from tidegate.services.evaluation.open_loop import LoadSample

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds are of answers alone, from when their requests were due; `late_ms` is how late the client itself was
    with all of them. `rate` was asked for, `sent_rate` and `answered_rate` were reached, each a second."""

    rate: float
    duration_s: float
    sent: int
    sent_rate: float
    answered_rate: float
    outcomes: dict[str, int]
    refused: dict[str, int]
    """By code."""
    failed: dict[str, int]
    """By the kind of the error."""
    unfinished: int
    """Without an end when nobody waited any longer."""
    ttft_ms: dict[str, float]
    final_ms: dict[str, float]
    late_ms: dict[str, float]

    @property
    def answered(self) -> int:
        """How many had an answer, be it that there is none."""
        return sum(self.outcomes.values())


def summarise_load(samples: Sequence[LoadSample], unfinished: int, rate: float, duration_s: float) -> LoadReport:
    """The report of a run of `duration_s` seconds."""
    answered = [sample for sample in samples if sample.became not in ("refused", "failed")]
    sent = len(samples) + unfinished
    return LoadReport(
        rate=rate,
        duration_s=duration_s,
        sent=sent,
        sent_rate=round(sent / duration_s, 2),
        answered_rate=round(len(answered) / duration_s, 2),
        outcomes=_counted(sample.became for sample in answered),
        refused=_counted(sample.why for sample in samples if sample.became == "refused"),
        failed=_counted(sample.why for sample in samples if sample.became == "failed"),
        unfinished=unfinished,
        ttft_ms=percentiles_ms([sample.first_s for sample in answered if sample.first_s is not None]),
        final_ms=percentiles_ms([sample.final_s for sample in answered]),
        late_ms=percentiles_ms([sample.late_s for sample in samples]),
    )


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """By nearest rank: the least value that so many do not exceed, in milliseconds; empty of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    ranks = {name: max(0, math.ceil(share * len(ordered)) - 1) for name, share in SHARES.items()}
    return {name: round(ordered[rank] * 1000, 3) for name, rank in ranks.items()}


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
