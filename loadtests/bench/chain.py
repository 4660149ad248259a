"""The seven stages with handlers that do nothing: what is left is what a hop costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import msgspec

from tidegate.brokers.stage import Handler, Stage
from tidegate.schemas import (
    Answer,
    Approved,
    Asked,
    Drafted,
    Escalated,
    Fact,
    Message,
    Plan,
    Published,
    Question,
    Receipt,
    Retrieved,
    Routed,
    Screened,
    StageTiming,
    Verified,
    encode,
)
from tidegate.schemas.subjects import sources_of, stream_of, subject_of
from tidegate.services.pipeline import STAGES
from tidegate.services.stages.prefilter.handler import first_fact

SITE = "site1"
TENANT = "kiosk"
RID = "0" * 16
QUESTION = Question(
    text="Which documents do I need to open a current account for a child?",
    language="en",
    intent="open_account",
    intent_confidence=0.93,
)
PLAN = Plan(
    where="edge",
    may_escalate=True,
    k=8,
    model="extractive",
    shares_ms={stage.name: 4000 / len(STAGES) for stage in STAGES},
    config_version="v1",
    reason="default",
)
ANSWER = Answer(text="A valid identity document of one parent, and the child's birth certificate.", confidence=0.9)
AT_SITE: tuple[Stage, ...] = tuple(dataclasses.replace(stage, side="site") for stage in STAGES)
"""The pipeline's own table, with every stage at home in one domain, so that seven hops are walked on one server."""

AT_EDGE = tuple(stage for stage in AT_SITE if stage.name != "cloud-verifier")
"""Those that an answer of the edge comes through."""


def question(rid: str) -> Asked:
    """What a gateway stores."""
    now_ms = time.time_ns() // 1_000_000
    return Asked(
        tenant=TENANT,
        rid=rid,
        site=SITE,
        workload="assist",
        asked_at_ms=now_ms,
        deadline_at_ms=now_ms + 4000,
        sealed=b"x" * 96,
    )


async def screen(asked: Asked) -> list[Message]:
    return [first_fact(asked, ()).followed_by(Screened, question=QUESTION)]


async def route(screened: Screened) -> list[Message]:
    return [screened.followed_by(Routed, question=screened.question, plan=PLAN)]


async def retrieve(routed: Routed) -> list[Message]:
    return [routed.followed_by(Retrieved, question=routed.question, plan=routed.plan)]


async def escalate(retrieved: Retrieved) -> list[Message]:
    return [retrieved.followed_by(Escalated, question=retrieved.question, plan=retrieved.plan, reason="unsure")]


async def verify(escalated: Escalated) -> list[Message]:
    return [escalated.followed_by(Verified, question=escalated.question, plan=escalated.plan, answer=ANSWER)]


async def draft(retrieved: Retrieved) -> list[Message]:
    return [retrieved.followed_by(Drafted, question=retrieved.question, plan=retrieved.plan, answer=ANSWER)]


async def approve(answered: Verified | Drafted) -> list[Message]:
    return [
        answered.followed_by(
            Approved, question=answered.question, plan=answered.plan, route="cloud", answer=answered.answer
        )
    ]


async def publish(approved: Approved) -> list[Message]:
    receipt = Receipt(site=SITE, route="cloud", plan=approved.plan, lineage=(), citations=(), decisions=())
    return [
        approved.followed_by(
            Published,
            outcome="answered",
            text=approved.answer.text,
            confidence=approved.answer.confidence,
            receipt=receipt,
        )
    ]


HANDLERS: tuple[Handler, ...] = (screen, route, retrieve, escalate, verify, approve, publish)
EDGE_HANDLERS: tuple[Handler, ...] = (screen, route, retrieve, draft, approve, publish)


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One stage as a peer walks it: it reads `reads` in stream `source` and stores `payload` in stream `sink`.

    `leaves` is the subject it stores under, up to the request id.
    """

    stage: str
    source: str
    reads: str
    sink: str
    leaves: str
    payload: bytes


async def hops(stages: Sequence[Stage] = AT_SITE, handlers: Sequence[Handler] = HANDLERS) -> tuple[Hop, ...]:
    """The hops, seven if none are named, with payloads of the very size that our stages store, timings included."""
    found = []
    message: Message = question(RID)
    for stage, handle in zip(stages, handlers, strict=True):
        source = sources_of(type(message), SITE)[0]
        (message,) = await handle(message)
        if isinstance(message, Fact):
            spent = StageTiming(stage.name, 0.512, 0.024)
            message = msgspec.structs.replace(message, timings=(*message.timings, spent))
        leaves = subject_of(message, SITE)
        hop = Hop(
            stage=stage.name,
            source=source.stream,
            reads=source.filter,
            sink=stream_of(leaves),
            leaves=leaves.removesuffix(RID),
            payload=encode(message),
        )
        found.append(hop)
    return tuple(found)
