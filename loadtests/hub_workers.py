"""A hub with any number of workers, a site beside it, and escalations by both lanes at once, each counted.

The servers, the link and the workers are real; the site has no workers: whoever opens this speaks for it.
Next: services/uplink/claims.py, what is counted here."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.ready import read_ready_processes
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.brokers.servers.ports import choose_port
from tidegate.schemas import Escalated, Plan, Question, Refused, Verified, decode, encode, replace
from tidegate.schemas.subjects import HUB, VERDICTS, verdicts_of
from tidegate.schemas.verification_subjects import fast_lane
from tidegate.services.fleet.deployment import build_environment, show_credential
from tidegate.services.fleet.roles import roles_of
from tidegate.services.fleet.supervisor import Child, Supervisor
from tidegate.services.fleet.worker_replicas import program_of
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

SITE, TENANT, STAGE = "site1", "kiosk", "cloud-verifier"
DEADLINE_S = 120.0
TRY_S = 10.0
ASK_AGAIN_S = 0.1
CLAIMS, MODEL_CALLS = "tidegate_escalation_claims", "tidegate_target_answers"


class HubWorkers:
    """The workers of one hub, and the questions that are escalated to it."""

    def __init__(
        self, settings: Settings, fleet: Fleet, supervisor: Supervisor, site: JetStreamBus, questions: Sequence[str]
    ) -> None:
        self._settings = replace(settings, site=HUB)
        self._fleet = fleet
        self._supervisor = supervisor
        self._site = site
        self._questions = itertools.cycle(questions)
        self._asked = itertools.count()
        self._metrics_port = choose_port("127.0.0.1")

    @property
    def children(self) -> list[Child]:
        """The workers' processes, the first one first."""
        return list(self._supervisor.children.values())

    async def scale_to(self, count: int) -> None:
        """Start workers until there are so many, and return when they are ready. Raises `ChildFailedError`."""
        env = {
            **build_environment(self._settings, HUB, self._fleet.hub.url),
            **show_credential(self._settings, HUB, STAGE),
            "TIDEGATE_METRICS_PORT": str(self._metrics_port),
        }
        numbers = range(len(self.children) + 1, count + 1)
        for fault in await self._supervisor.start([program_of(self._settings, STAGE, each, env) for each in numbers]):
            raise fault

    async def escalate(self, count: int, at_once: int = 8) -> dict[str, Verified]:
        """The verdicts of so many new escalations, by request id, once both lanes have brought each of them."""
        slots = asyncio.Semaphore(at_once)

        async def one() -> Verified:
            async with slots:
                return await self._escalate(f"h{next(self._asked)}", next(self._questions))

        verdicts = await asyncio.gather(*(one() for _ in range(count)))
        return {verified.rid: verified for verified in verdicts}

    async def _escalate(self, rid: str, text: str) -> Verified:
        escalated = escalation(rid, text)
        _, verified = await asyncio.gather(
            self._site.publish(escalated, id=f"{rid}.escalated", headers={}), self._ask(escalated)
        )
        async with asyncio.timeout(DEADLINE_S):
            while (stored := await self._site.last(VERDICTS, verdicts_of(SITE, f"{TENANT}.{rid}"))) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if decode(stored, Verified).answer != verified.answer:
            raise AssertionError(f"{rid}: the lanes brought two answers")
        return verified

    async def _ask(self, escalated: Escalated) -> Verified:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    data = await self._site.request(fast_lane(SITE, TENANT), encode(escalated), timeout_s=TRY_S)
                except UnreachableError:  # nobody is there yet, or the one that was asked is gone
                    await asyncio.sleep(ASK_AGAIN_S)
                    continue
                reply = decode(data, Verified, Refused)
                if isinstance(reply, Verified):
                    return reply
                await asyncio.sleep(ASK_AGAIN_S)

    async def counted(self) -> Counter[str]:
        """What the workers that live have counted: outcomes of claims by name, and `model calls`."""
        processes = read_ready_processes(Path(self._settings.state_dir))
        alive = {child.pid for child in self.children}
        ports = [each.metrics_port for each in processes if each.pid in alive]
        found: Counter[str] = Counter()
        async with httpx.AsyncClient(trust_env=False) as http:
            for port in ports:
                found += count_metrics((await http.get(f"http://127.0.0.1:{port}/metrics")).text)
        return found


def count_metrics(text: str) -> Counter[str]:
    """The outcomes of claims and the model's calls in what Prometheus would read."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"{CLAIMS}_total":
                found[sample.labels["outcome"]] += int(sample.value)
            if sample.name == f"{MODEL_CALLS}_total":
                found["model calls"] += int(sample.value)
    return found


def escalation(rid: str, text: str) -> Escalated:
    """A question that a site escalates, with time enough."""
    plan = Plan(where="cloud", may_escalate=True, k=8, model="", shares_ms={}, config_version="1", reason="measured")
    now_ms = time.time_ns() // 1_000_000
    question = Question(text=text, language="en", intent="other", intent_confidence=0.9)
    return Escalated(
        rid=rid,
        tenant=TENANT,
        site=SITE,
        asked_at_ms=now_ms,
        deadline_at_ms=now_ms + 60_000,
        question=question,
        plan=plan,
        reason="low_confidence",
    )


@asynccontextmanager
async def open_hub_workers(settings: Settings, questions: Sequence[str]) -> AsyncIterator[HubWorkers]:
    """A hub without workers yet, whose state is prepared below `settings.state_dir`."""
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(open_fleet(Path(settings.state_dir), [SITE], roles_of))
        await declare_fleet(fleet, tuple(WORKERS.values()))
        site = await stack.enter_async_context(JetStreamBus.open(fleet.sites[SITE].nats, SITE))
        supervisor = await stack.enter_async_context(Supervisor([], grace_s=10.0))
        yield HubWorkers(settings, fleet, supervisor, site, questions)
