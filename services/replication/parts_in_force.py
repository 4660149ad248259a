"""Has readers get the parts of a pack that are in force, once the documents are here that they are made with.

Promises that a policy takes milliseconds, and that models are read in a process of its own, which ends with it, so that
the sync worker stays small. Next: services/fleet/apply.py; sync/shells/artefact_sync.py, which calls it."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tidegate.brokers.process.lifecycle import end_with_parent
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.services.fleet.apply import ArtefactFiles, apply_artefacts, remake_active
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.settings import Settings

Refusal = tuple[str, str, str] | None
"""What a step was refused with, as code, reason and hint; an error itself may not survive its way between processes."""


class PartsRefusedError(TidegateError):
    """The parts that were published cannot be used together; what was in force stays."""

    hint = "`tidegate pack check` finds it before it is published"


class ModelsNeededError(TidegateError):
    """What changed is made with the models."""

    hint = "nothing needs doing: it is made by another process"


class PartsInForce:
    """The parts of the tenants of one domain. `is_current` tells whether the documents of a tenant are here, `files` of
    a tenant gives the artefacts in force."""

    def __init__(
        self, settings: Settings, is_current: Callable[[str], bool], files: Callable[[str], ArtefactFiles]
    ) -> None:
        self._settings = settings
        self._is_current = is_current
        self._files = files
        self._spool = EventSpool(StatePaths(settings).audit_events)
        self._applying = asyncio.Lock()

    async def apply(self, tenant: str) -> None:
        """Bring what is published into force. Raises `RetryLaterError` until the documents are here, and
        `PartsRefusedError`."""
        async with self._applying:
            if not await asyncio.to_thread(self._is_current, tenant):
                raise RetryLaterError(f"the documents of {tenant} are not here yet", after_s=1.0)
            files = await asyncio.to_thread(self._files, tenant)
            before = await asyncio.to_thread(self._in_force, tenant)
            await self._step(partial(apply_step, self._settings, tenant, files))
            after = await asyncio.to_thread(self._in_force, tenant)
            if after is not None and (before is None or before.number != after.number):
                await asyncio.to_thread(self._report, tenant, after)

    async def remake(self, tenant: str) -> None:
        """Make anew what is made of documents, where enough of them changed. Raises `PartsRefusedError`."""
        async with self._applying:
            await self._step(partial(remake_step, self._settings, tenant))

    def _report(self, tenant: str, record: GenerationRecord) -> None:
        store = GenerationStore(StatePaths(self._settings).active(tenant))
        policies = PackInForce.of_generation(tenant, store.path(record.number), record).policies
        self._spool.report(generation_event(tenant, record, {each.version: each.canonical for each in policies}))

    def _in_force(self, tenant: str) -> GenerationRecord | None:
        return GenerationStore(StatePaths(self._settings).active(tenant)).usable()

    async def _step(self, step: Callable[[bool], Refusal]) -> None:
        try:
            refused = await asyncio.to_thread(step, False)
        except ModelsNeededError:
            spawning = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, spawning, initializer=end_with_parent) as process:
                refused = await asyncio.get_running_loop().run_in_executor(process, step, True)
        if refused is not None:
            raise PartsRefusedError(refused[1], refused[2])


def generation_event(tenant: str, record: GenerationRecord, texts: Mapping[str, str]) -> AuditEvent:
    """What the audit log has of a generation that came into force: its digest, and its policies, with their epochs and
    `texts`."""
    policies = [
        f"{path.partition('/')[2]}@{epoch}" for path, epoch in record.epochs.items() if path.startswith("policy/")
    ]
    act = AuditedAct(
        about=f"generation {record.number}",
        reason=", ".join(sorted(policies))[:500],
        digest=record.digest,
        epoch=record.number,
        policies=dict(texts),
    )
    return AuditEvent(kind="in_force", tenant=tenant, act=act)


def apply_step(
    settings: Settings, tenant: str, files: Mapping[tuple[str, str], tuple[Path, int]], may_load: bool
) -> Refusal:
    """`apply_artefacts`, with the models where it may load them. Raises `ModelsNeededError` where it may not."""
    paths = StatePaths(settings)
    return _refusal(partial(apply_artefacts, paths, tenant, files, partial(load_units, paths.models, may_load)))


def remake_step(settings: Settings, tenant: str, may_load: bool) -> Refusal:
    """`remake_active`, with the models where it may load them. Raises `ModelsNeededError` where it may not."""
    paths = StatePaths(settings)
    return _refusal(partial(remake_active, paths, tenant, partial(load_units, paths.models, may_load)))


def load_units(models: Path, may_load: bool) -> UnitReader:
    """The reader's model. Raises `ModelsNeededError` where it may not be loaded."""
    if not may_load:
        raise ModelsNeededError("the parts that changed are made with the models")
    return UnitReader.load(models)


def _refusal(step: Callable[[], object]) -> Refusal:
    try:
        step()
    except ModelsNeededError:
        raise
    except TidegateError as error:
        return error.code, error.reason, error.hint
    return None
