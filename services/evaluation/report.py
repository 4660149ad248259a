"""What a run of questions amounted to: counted from the answers and from the streams, never estimated.

The labelled questions come from a pack; next: client.py, which asks them.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from tidegate.schemas import Published, Refused
from tidegate.schemas.pack import LabelledQuestion
from tidegate.services.evaluation.sync_report import SyncDemonstration


class ClientRun(msgspec.Struct, kw_only=True):
    """One question as it was asked, and what came back. Times are the client's own, in milliseconds."""

    question: LabelledQuestion
    rid: str
    site: str
    transport: str
    reply: Published | Refused | None = None
    ttft_ms: float = 0.0
    e2e_ms: float = 0.0
    answers_stored: int = 0
    escalated: bool = False
    correct: bool = False


class Spread(msgspec.Struct, frozen=True):
    p50: float
    p95: float


class AbstentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Whether it was right not to answer. `due` are the questions that no document answers, `made` the abstentions, and
    `right` those that were due. `precision` is right of made, `recall` right of due; 1 of nothing."""

    due: int = 0
    made: int = 0
    right: int = 0
    precision: float = 1.0
    recall: float = 1.0


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
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
    abstention: AbstentionReport = AbstentionReport()
    sync: SyncDemonstration | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, dead-lettered or leaked, and all domains hold the same."""
        is_whole = self.sync is None or self.sync.is_whole
        return is_whole and not (self.lost or self.duplicates or self.dead or self.personal_values_found)


def measure_spread(values: Iterable[float]) -> Spread:
    """Median and 95th percentile (nearest rank), rounded to 0.01; zeros for nothing."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0.0, 0.0)
    rank = max(0, -(-95 * len(ordered) // 100) - 1)
    return Spread(round(statistics.median(ordered), 2), round(ordered[rank], 2))


def summarise_runs(runs: Sequence[ClientRun], *, dead: int, personal_values_found: int) -> RunReport:
    """Count. `dead` and `personal_values_found` come from the streams and from the disks."""
    replies = [run.reply for run in runs]
    published = [(run, run.reply) for run in runs if isinstance(run.reply, Published)]
    outcomes = Counter(reply.outcome for _, reply in published)
    worked: dict[str, list[float]] = {}
    for _, reply in published:
        for line in reply.timings:
            worked.setdefault(line.stage, []).append(line.worked_ms)
    answered = [(run, reply) for run, reply in published if reply.outcome == "answered"]
    return RunReport(
        asked=len(runs),
        answered=outcomes["answered"],
        withheld=outcomes["withheld"],
        abstained=outcomes["abstained"],
        refused=sum(isinstance(reply, Refused) for reply in replies),
        dead=dead,
        lost=sum(run.reply is None or run.answers_stored == 0 for run in runs),
        duplicates=sum(run.answers_stored > 1 for run in runs),
        escalated=sum(run.escalated for run in runs),
        correct=sum(run.correct for run in runs),
        incorrect=sum(not run.correct for run in runs),
        wrongly_abstained=sum(
            reply.outcome == "abstained" and bool(run.question.documents) for run, reply in published
        ),
        personal_values_found=personal_values_found,
        by_kind=count_by_kind(runs),
        ttft_ms=measure_spread(run.ttft_ms for run, _ in answered),
        ttft_edge_ms=measure_spread(run.ttft_ms for run, reply in answered if reply.receipt.route == "edge"),
        e2e_ms=measure_spread(run.e2e_ms for run, _ in published),
        stages={name: measure_spread(times) for name, times in worked.items()},
        abstention=judge_abstentions(published),
    )


def judge_abstentions(published: Iterable[tuple[ClientRun, Published]]) -> AbstentionReport:
    """Abstention correctness over what was published."""
    seen = [(run.question.kind == "out_of_scope", reply.outcome == "abstained") for run, reply in published]
    due, made = sum(is_due for is_due, _ in seen), sum(is_made for _, is_made in seen)
    right = sum(is_due and is_made for is_due, is_made in seen)
    return AbstentionReport(
        due=due,
        made=made,
        right=right,
        precision=round(right / made, 4) if made else 1.0,
        recall=round(right / due, 4) if due else 1.0,
    )


def count_by_kind(runs: Sequence[ClientRun]) -> dict[str, dict[str, int]]:
    """Asked and correct per kind of question."""
    kinds: dict[str, dict[str, int]] = {}
    for run in runs:
        row = kinds.setdefault(run.question.kind, {"asked": 0, "correct": 0})
        row["asked"] += 1
        row["correct"] += run.correct
    return kinds
