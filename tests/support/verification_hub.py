"""A hub whose target verifies round by round, on small models, and what it takes to draft for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from tests.support.escalation_site import at_hub, escalated, plan
from tidegate.brokers.base import House
from tidegate.schemas import Artefact, Escalated, Partial, Plan, Speculation
from tidegate.schemas.subjects import loop
from tidegate.services.answering import Brief
from tidegate.services.answering.answerer import Speaker, Telling
from tidegate.services.fleet.paths import Places
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.llm.decoding.causal_lm import CausalLM
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.stages.cloud_verifier import Hub
from tidegate.services.uplink.verification_server import Loops

WHO = "Who is the chief executive of the bank?"
CONTEXT = 1024
LOOP = msgspec.structs.replace(plan(), mode="economy_loop", drafters=("lm",), draft_length=6)


def asked(rid: str = "r1", *, plan_: Plan = LOOP, **more: object) -> Escalated:
    """A question that only the hub can answer, with time enough."""
    return escalated(WHO, rid=rid, plan_=plan_, deadline_at_ms=1 << 50, **more)


class Heard(Telling):
    """Hears all that the target says, and lets it finish, whatever it is: a model of random weights always strays."""

    def hear(self, ids: Sequence[int]) -> None:
        self._ids += ids

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._ids)


class Patient(Speaker):
    """A speaker that keeps what was said, by request and in the order of asking."""

    told: list[Heard]

    def telling(self, brief: Brief, escalated: Escalated, parts: tuple[Artefact, ...]) -> Heard:
        telling = Heard(brief, escalated, parts, self._target.tokenizer, self._tell)
        self.told.append(telling)
        return telling


class Cloud(msgspec.Struct):
    """What a hub consists of, as far as loops go."""

    target: EmbeddedTarget
    speaker: Speaker
    loops: Loops
    counted: list[Speculation]
    strayed: list[bool]
    """Whether it had strayed, for each that was counted."""

    @property
    def said(self) -> list[tuple[int, ...]]:
        """What the target said in each answer that was begun."""
        assert isinstance(self.speaker, Patient)
        return [telling.ids for telling in self.speaker.told]


@asynccontextmanager
async def cloud(
    house: House, lm: CausalLM, *, quotes: bool = False, is_patient: bool = True, **bounds: object
) -> AsyncIterator[Cloud]:
    """A hub with `lm` as its target, that answers loops on `house`."""
    places = Places(at_hub())
    embedder = Embedder.load(places.models)
    shelf = Shelf(("kiosk",), places.index, embedder, exact_below=15_000)
    survey = partial(Hub(shelf, embedder).survey, Reader(embedder, Calibration.load(places.calibration)))

    async def tell(_: Partial) -> None: ...

    counted: list[Speculation] = []
    strayed: list[bool] = []

    def count(speculation: Speculation, has_strayed: bool) -> None:
        counted.append(speculation)
        strayed.append(has_strayed)

    target = EmbeddedTarget(lm, quotes=quotes)
    speaker = (Patient if is_patient else Speaker)(target, survey, tell, count)
    if isinstance(speaker, Patient):
        speaker.told = []
    loops = Loops(speaker, target, **bounds)  # type: ignore[arg-type]
    await house.respond(loop("*"), loops.begin)
    await house.respond(loop("*", loops.worker), loops.go_on)
    yield Cloud(target, speaker, loops, counted, strayed)
    loops.close()
    await target.close()


async def alone(hub: Cloud, fact: Escalated) -> tuple[object, tuple[int, ...]]:
    """The hub's own answer, without what it cost, and what its target said."""
    answer, _ = await hub.speaker.answer(msgspec.structs.replace(fact, draft=None))
    return without_costs(answer), hub.said[-1]


def without_costs(answer: object) -> object:
    return msgspec.structs.replace(answer, speculation=None)  # type: ignore[type-var]
