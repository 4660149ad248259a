"""The parts of an answer's time, as the bench takes them from its receipt, are all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench.chain import PLAN, RID, SITE, TENANT
from loadtests.bench.edge_latency import ANSWER, BESIDE, STAGES, WAITED, WORKED, add_parts
from tidegate.schemas import Published, Receipt, Refused, StageTiming, replace
from tidegate.services.evaluation.open_loop import LoadReply

ANSWERED = Published(
    rid=RID,
    tenant=TENANT,
    site=SITE,
    asked_at_ms=1,
    deadline_at_ms=2,
    outcome="answered",
    text="At nine.",
    receipt=Receipt(site=SITE, route="edge", plan=PLAN, lineage=(), citations=(), decisions=()),
)
millis = st.floats(0.0, 100.0)


@given(st.lists(st.tuples(millis, millis), min_size=len(STAGES), max_size=len(STAGES)), millis)
def test_the_parts_are_the_whole(timings: list[tuple[float, float]], beside_ms: float) -> None:
    lines = tuple(StageTiming(stage, *each) for stage, each in zip(STAGES, timings, strict=True))
    took_ms = beside_ms + sum(map(sum, timings))
    samples: dict[str, list[float]] = {}
    add_parts(samples, LoadReply(replace(ANSWERED, timings=lines)), took_ms)
    [whole], [rest] = samples.pop(ANSWER), samples.pop(BESIDE)
    assert whole == took_ms
    assert rest == pytest.approx(beside_ms, abs=1e-6)
    assert samples == {
        name.format(line.stage): [ms]
        for line in lines
        for name, ms in ((WORKED, line.worked_ms), (WAITED, line.waited_ms))
    }


@pytest.mark.parametrize(
    "reply",
    [
        Refused(code="busy", reason="busy"),
        replace(ANSWERED, outcome="abstained"),
        replace(ANSWERED, receipt=replace(ANSWERED.receipt, route="cloud")),
    ],
    ids=["refused", "abstained", "the cloud's"],
)
def test_nothing_but_an_answer_of_the_edge_counts(reply: Published | Refused) -> None:
    samples: dict[str, list[float]] = {}
    add_parts(samples, LoadReply(reply), 12.0)
    assert not samples
