"""A site answers an extraction that it can vouch for, escalates one that it cannot, and never one that nobody can."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.escalation_site import plan, retrieved
from tidegate.schemas import Answer, Artefact, Drafted, Escalated, Partial, Retrieved, Verified
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.planning.planner import with_evidence
from tidegate.services.stages.drafter.handler import DrafterPorts, EscalationRules, MakeDraft, draft

pytestmark = pytest.mark.anyio

TOTAL: dict[str, Any] = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
TUPLE: dict[str, Any] = {"type": "object", "properties": {"total": {"type": "array", "prefixItems": [{}]}}}


async def drafted(text: str, schema: dict[str, Any], **more: Any) -> Drafted | Escalated | Verified:
    async def read(_: Retrieved) -> tuple[Answer, tuple[Artefact, ...], MakeDraft]:
        raise AssertionError("an extraction reads no passages")

    async def fill(fact: Retrieved) -> Answer:
        return extract(fact.question.text, fact.question.schema, fact.question.language)

    async def publish_partial(_: Partial) -> None:
        raise AssertionError("an extraction shows nothing on the way")

    async def verify(_: Escalated) -> Verified:
        raise AssertionError("an extraction is not verified interactively")

    ports = DrafterPorts(read, fill, publish_partial, lambda *_: None, verify, lambda _: None, with_evidence)
    fact = retrieved(text, workload="extract", schema=json.dumps(schema), **more)
    (outcome,) = await draft(fact, ports, EscalationRules(lambda _: 0.6))
    return outcome


async def test_a_failed_schema_escalates() -> None:
    outcome = await drafted("Nothing to pay.", TOTAL)
    assert isinstance(outcome, Escalated)
    assert (outcome.reason, outcome.draft) == ("schema", None)


async def test_a_filled_one_stays_and_so_does_one_that_may_not_go_or_that_nobody_can_fill() -> None:
    for text, schema, more in (
        ("Total: 12", TOTAL, {}),
        ("Nothing to pay.", TOTAL, {"plan_": plan(may_escalate=False)}),
        ("Total: 12", TUPLE, {}),
    ):
        assert isinstance(await drafted(text, schema, **more), Drafted)
