"""What a run of questions amounted to: counted from the answers and from the streams, never from hope."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from tidegate.schemas import Published, Refused
from tidegate.schemas.pack import LabelledQuestion


class Asking(msgspec.Struct, kw_only=True):
    """One question as it was asked, and what came back. Times are the client's own, in milliseconds."""

    question: LabelledQuestion
    rid: str
    site: str
    door: str
    reply: Published | Refused | None = None
    ttft_ms: float = 0.0
    e2e_ms: float = 0.0
    answers_stored: int = 0
    escalated: bool = False
    correct: bool = False


class Spread(msgspec.Struct, frozen=True):
    p50: float
    p95: float


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of `tidegate demo --json`; `lost` had no reply or no stored answer, `duplicates` more than one."""

    asked: int
    answered: int
    withheld: int
    abstained: int
    refused: int
    dead: int
    lost: int
    duplicates: int
    escalated: int
    correct: int
    incorrect: int
    wrongly_abstained: int
    personal_values_found: int
    by_kind: dict[str, dict[str, int]]
    ttft_ms: Spread
    ttft_edge_ms: Spread
    e2e_ms: Spread
    stages: dict[str, Spread]

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled, buried or leaked."""
        return not (self.lost or self.duplicates or self.dead or self.personal_values_found)


def spread(values: Iterable[float]) -> Spread:
    """Median and 95th percentile (nearest rank), rounded to 0.01; zeros for nothing."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0.0, 0.0)
    rank = max(0, -(-95 * len(ordered) // 100) - 1)
    return Spread(round(statistics.median(ordered), 2), round(ordered[rank], 2))


def tally(askings: Sequence[Asking], *, dead: int, personal_values_found: int) -> Tally:
    """Count. `dead` and `personal_values_found` come from the streams and from the disks."""
    replies = [asking.reply for asking in askings]
    published = [(asking, asking.reply) for asking in askings if isinstance(asking.reply, Published)]
    outcomes = Counter(reply.outcome for _, reply in published)
    worked: dict[str, list[float]] = {}
    for _, reply in published:
        for line in reply.ledger:
            worked.setdefault(line.stage, []).append(line.worked_ms)
    answered = [(asking, reply) for asking, reply in published if reply.outcome == "answered"]
    return Tally(
        asked=len(askings),
        answered=outcomes["answered"],
        withheld=outcomes["withheld"],
        abstained=outcomes["abstained"],
        refused=sum(isinstance(reply, Refused) for reply in replies),
        dead=dead,
        lost=sum(asking.reply is None or asking.answers_stored == 0 for asking in askings),
        duplicates=sum(asking.answers_stored > 1 for asking in askings),
        escalated=sum(asking.escalated for asking in askings),
        correct=sum(asking.correct for asking in askings),
        incorrect=sum(not asking.correct for asking in askings),
        wrongly_abstained=sum(
            reply.outcome == "abstained" and bool(asking.question.documents) for asking, reply in published
        ),
        personal_values_found=personal_values_found,
        by_kind=by_kind(askings),
        ttft_ms=spread(asking.ttft_ms for asking, _ in answered),
        ttft_edge_ms=spread(asking.ttft_ms for asking, reply in answered if reply.receipt.route == "edge"),
        e2e_ms=spread(asking.e2e_ms for asking, _ in published),
        stages={name: spread(times) for name, times in worked.items()},
    )


def by_kind(askings: Sequence[Asking]) -> dict[str, dict[str, int]]:
    """Asked and correct per kind of question."""
    kinds: dict[str, dict[str, int]] = {}
    for asking in askings:
        row = kinds.setdefault(asking.question.kind, {"asked": 0, "correct": 0})
        row["asked"] += 1
        row["correct"] += asking.correct
    return kinds
