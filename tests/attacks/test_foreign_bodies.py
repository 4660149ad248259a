"""Messages whose body says otherwise than the subject that the server let somebody publish under: none is worked on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.broker_harness import memory
from tests.support.message_samples import SAMPLES
from tests.support.scripted_stage import holds, working
from tidegate.brokers.stage import Stage
from tidegate.schemas import Asked, Fact, Message, Verified, encode, replace
from tidegate.schemas.subjects import DEAD, fact_subject, subject_of, verdicts_of
from tidegate.services.evidence.entries import draft_of
from tidegate.services.pipeline import STAGES

pytestmark = pytest.mark.anyio
SITE = "site1"
OTHERS = {"tenant": "neighbour", "rid": "another", "site": "site2"}
AT_SITE = [
    (stage, next(sample for sample in SAMPLES if type(sample) is kind))
    for stage in STAGES
    if stage.side == "site"
    for kind in stage.accepts
]


def forged() -> list[tuple[Stage, str, Message]]:
    """By stage: a subject under which it reads, and a body that is another tenant's or request's, or, where the subject
    has a site or another type may be there, of those."""
    found: list[tuple[Stage, str, Message]] = []
    for stage, sample in AT_SITE:
        assert isinstance(sample, Asked | Fact)
        own = replace(sample, site=SITE)
        subject = subject_of(own, SITE)
        found += [(stage, subject, replace(own, **{name: OTHERS[name]})) for name in ("tenant", "rid")]
        if isinstance(own, Verified):
            found.append((stage, verdicts_of(SITE, f"{own.tenant}.{own.rid}"), replace(own, site="site2")))
        for kind in stage.accepts:
            if kind is not type(own):
                found.append((stage, fact_subject(kind, own.tenant, own.rid), own))
    return found


def name_of(value: object) -> str | None:
    return value.name if isinstance(value, Stage) else type(value).__name__ if isinstance(value, Message) else None


@pytest.mark.parametrize(("stage", "subject", "body"), forged(), ids=name_of)
async def test_a_stage_works_on_nothing_that_is_not_its_subjects(
    tmp_path: Path, stage: Stage, subject: str, body: Message
) -> None:
    calls: list[Message] = []

    async def handle(message: Message) -> list[Message]:
        calls.append(message)
        return []

    async with memory(tmp_path, stage) as rig, working(stage, handle, rig.bus):
        await rig.put(subject, encode(body), "forged")
        async with asyncio.timeout(5):
            await holds(rig, DEAD, 1)
    [letter] = rig.bus.stored(DEAD)
    assert calls == []
    assert "another one than that of the subject" in letter.headers["Dead-Reason"]
    entry = draft_of(letter)
    assert (entry.kind, entry.body.reason) == ("dead_lettered", letter.headers["Dead-Reason"])
