"""A hub whose target verifies round by round, on small models, and what it takes to draft for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from tests.support.escalation_site import at_hub, escalated, plan
from tests.support.hub_intakes import hub_intake
from tidegate.brokers.base import Bus
from tidegate.schemas import Artefact, Escalated, Message, Partial, Plan, Speculation
from tidegate.services.answering.answerer import AnswerStream, GroundedAnswerer
from tidegate.services.answering.prompt_context import PromptContext
from tidegate.services.answering.sentence_stream import SentenceStream
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.stages.cloud_verifier.hub_corpus import HubCorpus
from tidegate.services.stages.threads import in_thread
from tidegate.services.uplink.lanes import HubLanes
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.verification_server import VerificationSessions

WHO = "Who is the chief executive of the bank?"
CONTEXT = 1024
LOOP = msgspec.structs.replace(plan(), mode="remote_speculation", drafters=("lm",), draft_length=6)


def asked(rid: str = "r1", *, plan_: Plan = LOOP, **more: object) -> Escalated:
    """A question that only the hub can answer, with time enough."""
    return escalated(WHO, rid=rid, plan_=plan_, deadline_at_ms=1 << 50, **more)


class Recorded(AnswerStream):
    """Takes in all that the target generates and lets it finish: a model of random weights always diverges."""

    def push(self, ids: Sequence[int]) -> None:
        self._ids += ids

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(self._ids)


class Patient(GroundedAnswerer):
    """An answerer that keeps what was generated, by request and in the order of asking."""

    streams: list[Recorded]

    def open_stream(self, context: PromptContext, escalated: Escalated, parts: tuple[Artefact, ...]) -> Recorded:
        sentences = SentenceStream(escalated, self._publish)
        tokens = self._target.tokenizer
        assert isinstance(tokens, TokenText)
        stream = Recorded(context, parts, tokens, sentences)
        self.streams.append(stream)
        return stream


class Cloud(msgspec.Struct):
    """What a hub consists of, as far as sessions go."""

    target: EmbeddedTarget
    answerer: GroundedAnswerer
    sessions: VerificationSessions
    counted: list[Speculation]
    diverged: list[bool]
    """Whether it had diverged, for each that was counted."""

    @property
    def generated(self) -> list[tuple[int, ...]]:
        """What the target generated for each answer that was begun."""
        assert isinstance(self.answerer, Patient)
        return [stream.ids for stream in self.answerer.streams]


@asynccontextmanager
async def cloud(
    bus: Bus, lm: CausalLM, *, quotes: bool = False, is_patient: bool = True, **bounds: object
) -> AsyncIterator[Cloud]:
    """A hub with `lm` as its target, that answers sessions on `bus`."""
    paths = StatePaths(at_hub())
    units = UnitReader.load(paths.models)
    embedder = units.embedder
    indexes = TenantIndexes(("kiosk",), paths.index, embedder, exact_below=15_000)
    reader = Reader(units, Calibration.load(paths.calibration))
    reading = in_thread(partial(HubCorpus(indexes, open_freshness(at_hub())).rank_spans, lambda _tenant: reader))

    async def publish(_: Partial) -> None: ...

    counted: list[Speculation] = []
    diverged: list[bool] = []

    def count(speculation: Speculation, has_diverged: bool) -> None:
        counted.append(speculation)
        diverged.append(has_diverged)

    target = EmbeddedTarget(lm, quotes=quotes)
    answerer = (Patient if is_patient else GroundedAnswerer)(target, reading, publish, count)
    if isinstance(answerer, Patient):
        answerer.streams = []
    sessions = VerificationSessions(answerer, target, **bounds)  # type: ignore[arg-type]

    async def never(_: Escalated) -> list[Message]:
        raise AssertionError("only sessions are begun here")

    await HubLanes(hub_intake(tenants=("kiosk", "stranger")), SingleFlight(never), sessions).serve(bus)
    yield Cloud(target, answerer, sessions, counted, diverged)
    sessions.close()
    await target.close()


async def alone(hub: Cloud, fact: Escalated) -> tuple[object, tuple[int, ...]]:
    """The hub's own answer, without what it cost, and what its target generated."""
    answer, _ = await hub.answerer.answer(msgspec.structs.replace(fact, draft=None))
    return without_costs(answer), hub.generated[-1]


def without_costs(answer: object) -> object:
    return msgspec.structs.replace(answer, speculation=None)  # type: ignore[type-var]
