"""The publisher's composition root: the handler, and the writer of the log of what is shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Committed,
    ForecastOutcome,
    Message,
    Partial,
    Published,
    Replied,
    Withheld,
    decode,
)
from tidegate.schemas.subjects import PARTIAL_APPROVED
from tidegate.schemas.switch import Switch
from tidegate.services.fleet.audit_spool import EventSpool, act_event
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.switches import SiteSwitches
from tidegate.services.fleet.tenant_parts import open_tenant_parts
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.load import identify_pack
from tidegate.services.planning.answer_class import name_class
from tidegate.services.planning.experience import outcome_of
from tidegate.services.policies.evidence_only import keep_to_evidence
from tidegate.services.settings import Settings
from tidegate.services.stages.publisher.handler import PublisherPorts, publish
from tidegate.services.stages.publisher.incidents import IncidentRule
from tidegate.services.stages.publisher.metrics import FreshnessMetrics
from tidegate.services.stages.publisher.switched import enforce
from tidegate.services.streaming.log_writer import AnswerLogWriter

METRICS = FreshnessMetrics()
log = structlog.get_logger()


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - a root is `open`
    """Yield the handler once the versions that go into every receipt are known. Raises `PackError`.

    Beside it, what the policy lets pass of answers in the making goes into the log of what is shown.
    """
    software = Artefact("software", "tidegate", version("tidegate"))
    writer = AnswerLogWriter(bus)
    switches = SiteSwitches(settings)
    switched = SwitchedPublishing(switches)

    async def on_partial(subject: str, data: bytes) -> None:
        if switched.may_show(decode(data, Partial)):
            await writer.on_partial(subject, data)

    await bus.listen(PARTIAL_APPROVED, on_partial)
    ports = PublisherPorts(
        writer.committed_part,
        writer.close,
        forecast_outcome,
        switched.enforce,
        switched.may_stand,
        writer.withdraw,
    )
    watch = IncidentWatch(settings, switches)
    async with open_tenant_parts(settings, name_pack) as packs:

        async def handler(settled: Approved | Withheld | Replied) -> list[Message]:
            pack = await packs.at(settled.tenant, settled.generation)
            published = await publish(settled, ports, (software, pack) if pack else (software,))
            for each in published:
                if isinstance(each, Published):
                    METRICS.count(each)
            if not isinstance(settled, Replied):
                await watch.see(settled)
            return published

        yield handler


class SwitchedPublishing:
    """What may be published and shown under the switches that are on at this moment. Its methods raise as
    `SiteSwitches.find` does."""

    def __init__(self, switches: SiteSwitches) -> None:
        self._switches = switches

    def may_show(self, made: Partial) -> bool:
        """Whether an answer in the making may be shown: under a switch it may not, for what it will become is not
        known."""
        return self._switches.find(made.tenant, name_class(made.question)) is None

    def enforce(self, approved: Approved) -> Approved | Withheld:
        """See `PublisherPorts`."""
        held = self._switches.find(approved.tenant, name_class(approved.question))
        return approved if held is None else enforce(approved, held, keep_to_evidence)

    def may_stand(self, settled: Approved | Withheld, committed: Committed) -> bool:
        """See `PublisherPorts`."""
        class_name = None if settled.question is None else name_class(settled.question)
        if self._switches.find(settled.tenant, class_name) is None:
            return True
        kept = keep_to_evidence(Answer(text=committed.text, citations=committed.evidence.citations))
        return kept is not None and kept[0].text == committed.text


class IncidentWatch:
    """Puts the site to evidence-only where the answers that policies judge call for it, and has that audited."""

    def __init__(self, settings: Settings, switches: SiteSwitches) -> None:
        self._rule = IncidentRule(settings.publisher, settings.site)
        self._switches = switches
        self._spool = EventSpool(StatePaths(settings).audit_events)

    async def see(self, settled: Approved | Withheld) -> None:
        """Count one more answer, once it is settled. Raises as `SiteSwitches.raise_here` does, and `OSError`."""
        reason = settled.reason if isinstance(settled, Withheld) else ""
        if settled.question is None or (isinstance(settled, Withheld) and settled.stage != "policy"):
            return
        class_name = name_class(settled.question)
        switch = self._rule.observe(settled.tenant, class_name, reason, settled.decisions, time.time())
        if switch is not None:
            await asyncio.to_thread(self._raise, switch)

    def _raise(self, switch: Switch) -> None:
        if self._switches.raise_here(switch):
            log.warning("evidence_only", scope=switch.scope, reason=switch.why)
            self._spool.report(act_event("evidence_only", switch.name, tenant=switch.tenant, reason=switch.why))


def name_pack(pack: PackInForce) -> Artefact:
    """A pack in force as a receipt names it: its folder by name and version, or a generation by its number and digest.

    Raises `PackError`.
    """
    if pack.number:
        return Artefact("pack", pack.tenant, pack.digest[:12], pack.number)
    return Artefact("pack", *identify_pack(pack.directory))


def forecast_outcome(settled: Approved | Withheld) -> ForecastOutcome | None:
    """When an answer was expected by its plan, and when it was judged."""
    return outcome_of(settled.plan, settled.route, settled.timings, settled.degradations)
