"""Instructions on their way: a plan that has a model write under them, and a receipt that says what became of them."""

from __future__ import annotations

import time
from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.escalation_site import fact, plan, question
from tests.support.plans import CALM, TABLE, cloud
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Approved,
    CloudState,
    Evidence,
    InstructionsReport,
    Plan,
    Published,
    Replied,
    Screened,
    Withheld,
    WritingReport,
    decode,
    digest_of,
    encode,
    replace,
)
from tidegate.schemas.stream import Committed
from tidegate.schemas.subjects import ping
from tidegate.services.planning.planner import PlanRequest, make_plan
from tidegate.services.settings import Settings
from tidegate.services.stages.publisher.handler import PublisherPorts, publish, reconcile
from tidegate.services.stages.router import open as open_router

pytestmark = pytest.mark.anyio

ORDER = "Be brief."
DIGEST = digest_of(ORDER)
INSTRUCTED = question("When do you open?", instructions=ORDER)
WRITES = cloud(verifies_drafts=True, writes=("grounded", "free"))


def test_a_question_with_instructions_goes_to_a_cloud_that_writes_and_only_there() -> None:
    instructed = make_plan(PlanRequest(INSTRUCTED, 4000), WRITES, TABLE)
    assert (instructed.where, instructed.mode) == ("cloud", "cloud_stream")
    assert "under its instructions" in instructed.reason
    for other, signals in ((question("When?"), WRITES), (INSTRUCTED, CALM), (INSTRUCTED, with_(WRITES, link_up=False))):
        assert make_plan(PlanRequest(other, 4000), signals, TABLE).where == "edge"
    extraction = msgspec.structs.replace(INSTRUCTED, workload="extract")
    assert make_plan(PlanRequest(extraction, 4000), WRITES, TABLE).where == "edge"


@pytest.mark.parametrize(("grounded", "where"), [("[assist]", "cloud"), ("[cards]", "edge")])
async def test_the_router_sends_what_the_policies_let_be_written(tmp_path: Path, grounded: str, where: str) -> None:
    (tmp_path / "policies").mkdir()
    policy = f"policy_id: p\nallow: [grounded_claims]\ngrounded: {grounded}\n"
    (tmp_path / "policies" / "p.yaml").write_text(policy)
    bus = MemoryBus("site1")

    async def state(_: bytes) -> bytes:
        return encode(CloudState(verifies_drafts=True, writes=("grounded", "free")))

    await bus.respond(ping("site1"), state)
    now_ms = int(time.time() * 1000)
    asked = Screened(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=now_ms, deadline_at_ms=now_ms + 60_000, question=INSTRUCTED
    )
    async with open_router(Settings(pack_dir=str(tmp_path), state_dir=str(tmp_path / "state")), bus) as handler:
        [routed] = await handler(asked)
    assert routed.plan.where == where  # type: ignore[attr-defined]
    assert routed.question == INSTRUCTED  # type: ignore[attr-defined]


def approved(report: WritingReport | None, plan_: Plan, route: str = "cloud") -> Approved:
    parts: Any = {"plan_": plan_, "instructions": ORDER, "route": route, "answer": Answer(text="At 9.", writing=report)}
    return fact(Approved, INSTRUCTED.text, **parts)


WRITING = replace(plan(), writing="grounded", mode="edge_only")
REPORT = WritingReport(mode="grounded", sentences=1)


async def report_of(settled: Approved | Withheld | Replied) -> InstructionsReport | None:
    async def unasked(_: Published) -> Any:
        raise AssertionError("nothing of this answer can have been shown")

    [published] = await publish(settled, PublisherPorts(unasked, unasked, lambda _: None), ())
    assert isinstance(published, Published)
    assert decode(encode(published), Published) == published
    return published.receipt.instructions


@pytest.mark.parametrize(
    ("report", "plan_", "route", "is_used", "reason"),
    [
        (msgspec.structs.replace(REPORT, instructions=DIGEST), WRITING, "cloud", True, ""),
        (REPORT, WRITING, "cloud", False, "no_room"),
        (None, WRITING, "cloud", False, "hub"),
        (None, WRITING, "edge", False, "site"),
        (None, replace(WRITING, writing="quote"), "edge", False, "policy"),
        (None, replace(WRITING, writing="quote"), "cloud", False, "policy"),
    ],
)
async def test_a_receipt_says_whether_a_model_wrote_under_them_and_why_not(
    report: WritingReport | None, plan_: Plan, route: str, is_used: bool, reason: Any
) -> None:
    settled = approved(report, plan_, route)
    assert await report_of(settled) == InstructionsReport(digest=DIGEST, is_used=is_used, reason=reason)
    assert await report_of(replace(settled, question=question("When do you open?"))) is None


async def test_a_receipt_of_no_answer_or_of_a_reply_says_so() -> None:
    whose: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2}
    withheld = Withheld(**whose, reason="abstained", stage="policy", question=INSTRUCTED, plan=WRITING)
    assert await report_of(withheld) == InstructionsReport(digest=DIGEST, reason="no_answer")
    replied = Replied(**whose, reason="smalltalk", stage="prefilter", text="Hello.", instructions=DIGEST)
    assert await report_of(replied) == InstructionsReport(digest=DIGEST, reason="reply")
    assert await report_of(replace(replied, instructions="")) is None


async def test_a_receipt_of_what_was_left_of_a_written_answer_names_the_writing_too() -> None:
    ports = PublisherPorts(None, None, lambda _: None)  # type: ignore[arg-type]
    [settled] = await publish(approved(None, WRITING, "edge"), ports, ())
    assert isinstance(settled, Published)
    report = msgspec.structs.replace(REPORT, instructions=DIGEST)
    kept = reconcile(settled, Committed(text="At ten.", evidence=Evidence(writing=report)))
    assert kept.text == "At ten."
    assert kept.receipt.writing == report
    assert kept.receipt.instructions == InstructionsReport(digest=DIGEST, is_used=True)
