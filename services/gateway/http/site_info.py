"""What a page may know of its site: stages, other sites of this machine, the link, its replicas, example questions.

Nothing of any request is in it. Read next: page/page.js, which shows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec

from tidegate.brokers.base import Bus, UnreachableError
from tidegate.schemas import Escalated, Where
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import ping, token_of
from tidegate.services.fleet.endpoints import FleetNotRunningError, read_endpoints
from tidegate.services.fleet.replica_status import ReplicaSummary, find_replica_status, summarise
from tidegate.services.pipeline import FAST_LANE, STAGES
from tidegate.services.planning.estimates import RoundTrip
from tidegate.services.settings import Settings

LINK_FRESH_S = 1.0
LINK_TIMEOUT_S = 1.0
REPLICAS_FRESH_S = 1.0
MOST_EXAMPLES = 6
EXAMPLE_KINDS = frozenset({"answerable", "language", "hub"})
"""Kinds of a pack's questions that a visitor may be invited to ask: each has an answer and no personal data."""


class StageInfo(msgspec.Struct, frozen=True):
    """A stage of the pipeline. Stages that read the same facts stand in for each other."""

    name: str
    where: Where
    reads: tuple[str, ...]


class SiteAddress(msgspec.Struct, frozen=True):
    """A site of this machine and where its page is."""

    name: str
    url: str


class SiteInfo(msgspec.Struct, frozen=True):
    """The answer of GET /v1/site."""

    site: str
    tenant: str
    stages: tuple[StageInfo, ...]
    sites: tuple[SiteAddress, ...]


class LinkState(msgspec.Struct, frozen=True):
    """The answer of GET /v1/site/link: whether the hub can be reached, and the smoothed round trip if it can."""

    is_up: bool
    rtt_ms: float | None


class ExampleQuestions(msgspec.Struct, frozen=True):
    """The answer of GET /v1/site/questions: some questions that the pack can answer, in one language."""

    language: str
    questions: tuple[str, ...]


class LinkProbe:
    """The round trip to the hub, measured when somebody asks for it and the last measurement is not fresh any more."""

    def __init__(self, bus: Bus, site: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._subject = ping(site)
        self._clock = clock
        self._measuring = asyncio.Lock()
        self._round_trip = RoundTrip()
        self._state = LinkState(is_up=False, rtt_ms=None)
        self._fresh_until = float("-inf")

    async def measure(self) -> LinkState:
        """The state of the link, at most `LINK_FRESH_S` seconds old. Takes up to `LINK_TIMEOUT_S` seconds."""
        async with self._measuring:
            if self._clock() >= self._fresh_until:
                self._state = await self._ping()
                self._fresh_until = self._clock() + LINK_FRESH_S
            return self._state

    async def _ping(self) -> LinkState:
        sent = time.perf_counter()
        try:
            await self._bus.request(self._subject, b"", timeout_s=LINK_TIMEOUT_S)
        except UnreachableError:
            self._round_trip = RoundTrip()
            return LinkState(is_up=False, rtt_ms=None)
        self._round_trip = self._round_trip.after((time.perf_counter() - sent) * 1000)
        return LinkState(is_up=True, rtt_ms=round(self._round_trip.smoothed_ms, 1))


class ReplicaProbe:
    """What the site's sync worker says, asked when somebody wants to know and the last answer is not fresh any more."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._clock = clock
        self._asking = asyncio.Lock()
        self._summary = ReplicaSummary()
        self._fresh_until = float("-inf")

    async def summary(self) -> ReplicaSummary:
        """What the site holds, at most `REPLICAS_FRESH_S` seconds old. Takes up to a second."""
        async with self._asking:
            if self._clock() >= self._fresh_until:
                self._summary = summarise(await find_replica_status(self._bus))
                self._fresh_until = self._clock() + REPLICAS_FRESH_S
            return self._summary


def describe_site(settings: Settings, tenant: str) -> SiteInfo:
    """What the site is to a caller of this tenant, as its settings and the files of this machine say."""
    return SiteInfo(settings.site, tenant, pipeline_stages(), known_sites(settings))


def pipeline_stages() -> tuple[StageInfo, ...]:
    """The stages in the order of their work; the fast lane stands before the durable stage that it overtakes."""
    stages = list(STAGES)
    stages.insert(min(n for n, stage in enumerate(STAGES) if set(stage.accepts) & set(FAST_LANE.accepts)), FAST_LANE)
    return tuple(
        StageInfo(stage.name, "cloud" if Escalated in stage.accepts else "edge", tuple(map(token_of, stage.accepts)))
        for stage in stages
    )


def known_sites(settings: Settings) -> tuple[SiteAddress, ...]:
    """The sites of the fleet that is up on this machine, by name; this site alone where there is none."""
    try:
        http = read_endpoints(settings).http
    except FleetNotRunningError:
        http = {}
    return tuple(SiteAddress(name, url) for name, url in sorted({settings.site: "/", **http}.items()))


def choose_examples(questions: Sequence[LabelledQuestion], language: str) -> ExampleQuestions:
    """At most `MOST_EXAMPLES` questions in `language`, evenly spread over the pack; in the language of the pack's first
    question where it has none in that one."""
    fit = [question for question in questions if question.kind in EXAMPLE_KINDS]
    if not any(question.language == language for question in fit):
        language = fit[0].language if fit else language
    fit = [question for question in fit if question.language == language]
    step = max(1.0, len(fit) / MOST_EXAMPLES)
    return ExampleQuestions(language, tuple(fit[int(n * step)].text for n in range(min(MOST_EXAMPLES, len(fit)))))
