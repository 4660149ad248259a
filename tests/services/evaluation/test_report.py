"""The count that the bars are read from: what is lost, doubled or leaked is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.schemas import Outcome, Published, Receipt, Refused, StageTiming
from tidegate.schemas.pack import LabelledQuestion
from tidegate.services.evaluation.byte_scan import find_values
from tidegate.services.evaluation.report import ClientRun, RunReport, measure_spread, summarise_runs

QUESTION = LabelledQuestion(id="q", text="?", kind="answerable", documents=("d",))


def client_run(outcome: Outcome = "answered", stored: int = 1, **changed: Any) -> ClientRun:
    receipt = Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=())
    reply = Published(
        rid="r", tenant="t", site="site1", asked_at_ms=0, deadline_at_ms=0, outcome=outcome, text="", receipt=receipt,
        timings=(StageTiming("router", 1.0, 2.0),),
    )  # fmt: skip
    fields = {"reply": reply, "answers_stored": stored, "ttft_ms": 5.0, "e2e_ms": 6.0, **changed}
    return ClientRun(question=QUESTION, rid="r", site="site1", transport="http", **fields)


def counted(*runs: ClientRun, dead: int = 0, leaked: int = 0) -> RunReport:
    return summarise_runs(runs, dead=dead, personal_values_found=leaked)


@pytest.mark.parametrize(
    ("runs", "lost", "duplicates"),
    [
        ((client_run(),), 0, 0),
        ((client_run(reply=None),), 1, 0),
        ((client_run(stored=0),), 1, 0),
        ((client_run(stored=2),), 0, 1),
        ((client_run(reply=Refused(code="late", reason="")),), 0, 0),
    ],
)
def test_an_answer_that_is_missing_is_lost_and_a_second_one_is_a_duplicate(
    runs: tuple[ClientRun, ...], lost: int, duplicates: int
) -> None:
    found = counted(*runs)
    assert (found.lost, found.duplicates) == (lost, duplicates)
    assert found.is_clean is (lost == duplicates == 0)


def test_a_dead_letter_or_a_leaked_value_does_not_hold() -> None:
    assert counted(client_run()).is_clean
    assert not counted(client_run(), dead=1).is_clean
    assert not counted(client_run(), leaked=1).is_clean


def test_outcomes_and_correctness_are_counted_by_kind() -> None:
    found = counted(client_run(correct=True), client_run("abstained"), client_run("withheld"))
    assert (found.answered, found.abstained, found.withheld, found.wrongly_abstained) == (1, 1, 1, 1)
    assert found.by_kind == {"answerable": {"asked": 3, "correct": 1}}
    assert found.stages["router"].p50 == 2.0


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((), (0, 0, 0, 1.0, 1.0)),
        ((("out_of_scope", "abstained"),), (1, 1, 1, 1.0, 1.0)),
        ((("out_of_scope", "answered"), ("answerable", "answered")), (1, 0, 0, 1.0, 0.0)),
        (
            (
                ("out_of_scope", "abstained"),
                ("out_of_scope", "abstained"),
                ("out_of_scope", "withheld"),
                ("answerable", "abstained"),
            ),
            (3, 3, 2, 0.6667, 0.6667),
        ),
    ],
)
def test_it_is_told_how_often_it_was_right_not_to_answer(
    outcomes: tuple[tuple[Any, Outcome], ...], expected: tuple[Any, ...]
) -> None:
    runs = [client_run(outcome) for _, outcome in outcomes]
    for run, (kind, _) in zip(runs, outcomes, strict=True):
        run.question = LabelledQuestion(id="q", text="?", kind=kind, documents=("d",) if kind == "answerable" else ())
    found = counted(*runs).abstention
    assert (found.due, found.made, found.right, found.precision, found.recall) == expected


@pytest.mark.parametrize(
    ("values", "p50", "p95"), [([], 0.0, 0.0), ([3.0], 3.0, 3.0), (list(range(1, 101)), 50.5, 95.0)]
)
def test_a_spread_is_the_median_and_the_nearest_rank(values: list[float], p50: float, p95: float) -> None:
    assert (measure_spread(values).p50, measure_spread(values).p95) == (p50, p95)


def test_the_scan_finds_a_planted_value_in_any_file_below(tmp_path: Path) -> None:
    deep = tmp_path / "site1" / "nats" / "1.blk"
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"\x00\xffAsked ann@b.example\x00")
    assert find_values(tmp_path, ["ann@b.example", "ben@b.example"]) == {"ann@b.example": [str(deep)]}
