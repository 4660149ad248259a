"""Has readers get the parts of a pack that are in force, once the documents are here that they are made with.

1. A policy takes milliseconds, whatever else is being made: that has a folder of its own, and comes into force after.
2. Models are read in a process of its own, which ends with its work and gives way to what answers.

Next: services/fleet/apply.py; sync/shells/artefact_sync.py, which calls it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from tidegate.brokers.process.lifecycle import end_with_parent
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.services.fleet.apply import ArtefactFiles, OfferedParts, apply_artefacts, has_to_remake
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.made_files import MADE_WITH, MadeFolder
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare_active import make_files
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.settings import Settings

LOOK_EVERY_S = 0.5
"""How often it is looked whether something is still made of what is published."""
NICENESS = 5
"""By how much the process that makes things gives way where requests are answered, which is on the same cores."""
MadeOrRefused = MadeFolder | tuple[str, str]
"""What was made, or the reason and the hint of why not; an error itself may not survive its way between processes."""


class PartsRefusedError(TidegateError):
    """The parts that were published cannot be used together; what was in force stays."""

    hint = "`tidegate pack check` finds it before it is published"


class PartsInForce:
    """The parts of the tenants of one domain. `is_current` tells whether the documents of a tenant are here, `files` of
    a tenant gives the artefacts in force; `on_unmade` is called when there is something for `make_all` to do."""

    def __init__(
        self,
        settings: Settings,
        is_current: Callable[[str], bool],
        files: Callable[[str], ArtefactFiles],
        on_unmade: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._paths = StatePaths(settings)
        self._is_current = is_current
        self._files = files
        self._on_unmade = on_unmade
        self._spool = EventSpool(self._paths.audit_events)
        self._applying = asyncio.Lock()
        self._unmade: dict[str, ArtefactFiles] = {}
        """By tenant what was to come into force and waits for `make_all`."""

    async def apply(self, tenant: str) -> bool:
        """Bring what is published into force; whether all of it is. What it takes models for, such as new intents, is
        left to `make_all`, which brings it into force as well.

        Raises `PartsRefusedError`, `OSError`, and where nothing is in force yet `RetryLaterError` until the documents
        are here.
        """
        if await asyncio.to_thread(self._in_force, tenant) is None:
            await self._expect_documents(tenant)
        files = await asyncio.to_thread(self._files, tenant)
        if self._unmade.get(tenant) == files:
            return False
        is_whole = await self._bring(tenant, files)
        if not is_whole:
            self._on_unmade()
        return is_whole

    async def make_all(self) -> None:
        """For each tenant make what its parts wait for, or what has outgrown its documents, and bring it into force.

        Raises, when all were tried, what kept one of them: `PartsRefusedError`, `IndexDamagedError`, `OSError`,
        `ValueError` for intents that cannot be learned, `RetryLaterError` until the documents are here.
        """
        await for_each(self._settings.tenants, self._make)

    async def _make(self, tenant: str) -> None:
        if tenant not in self._unmade and not await asyncio.to_thread(has_to_remake, self._paths, tenant):
            return
        await self._expect_documents(tenant)
        files = await asyncio.to_thread(self._files, tenant)
        is_answering = await asyncio.to_thread(self._in_force, tenant) is not None
        step = partial(make_step, self._settings, tenant, files)
        made = await self._unless_changed(tenant, files, in_process(step, NICENESS if is_answering else 0))
        if not isinstance(made, MadeFolder):
            raise PartsRefusedError(*made)
        try:
            files = await asyncio.to_thread(self._files, tenant)
            is_whole = await self._bring(tenant, files, made)
        finally:
            await asyncio.to_thread(shutil.rmtree, made.folder)
        if not is_whole:
            raise RetryLaterError(f"other parts of {tenant} were published meanwhile", after_s=1.0)

    async def _unless_changed(
        self, tenant: str, files: ArtefactFiles, work: Coroutine[Any, Any, MadeOrRefused]
    ) -> MadeOrRefused:
        """What the work makes of these files; it ends once other parts are published that things are made with.

        The parts of a pack arrive one by one: what was begun with the first of them would be made for nothing.
        """
        making = asyncio.create_task(work)
        try:
            while not making.done():
                await asyncio.wait((making,), timeout=LOOK_EVERY_S)
                now = await asyncio.to_thread(self._files, tenant)
                if not making.done() and _made_with(now) != _made_with(files):
                    raise RetryLaterError(f"other parts of {tenant} were published meanwhile", after_s=0.1)
            return making.result()
        finally:
            await end_tasks(making)

    async def _bring(self, tenant: str, files: ArtefactFiles, made: MadeFolder | None = None) -> bool:
        """Whether all of it is in force now."""
        async with self._applying:
            before = await asyncio.to_thread(self._in_force, tenant)
            try:
                applied = await asyncio.to_thread(apply_artefacts, self._paths, tenant, files, made)
            except TidegateError as error:
                raise PartsRefusedError(error.reason, error.hint) from error
            after = await asyncio.to_thread(self._in_force, tenant)
            if after is not None and (before is None or before.number != after.number):
                await asyncio.to_thread(self._report, tenant, after)
            if applied.is_whole:
                self._unmade.pop(tenant, None)
            else:
                self._unmade[tenant] = files
        return applied.is_whole

    async def _expect_documents(self, tenant: str) -> None:
        if not await asyncio.to_thread(self._is_current, tenant):
            raise RetryLaterError(f"the documents of {tenant} are not here yet", after_s=1.0)

    def _report(self, tenant: str, record: GenerationRecord) -> None:
        store = GenerationStore(self._paths.active(tenant))
        policies = PackInForce.of_generation(tenant, store.path(record.number), record).policies
        self._spool.report(generation_event(tenant, record, {each.version: each.canonical for each in policies}))

    def _in_force(self, tenant: str) -> GenerationRecord | None:
        return GenerationStore(self._paths.active(tenant)).usable()


def _made_with(files: ArtefactFiles) -> ArtefactFiles:
    """Those of which something is made."""
    return {(kind, name): file for (kind, name), file in files.items() if kind in MADE_WITH}


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


def make_step(settings: Settings, tenant: str, files: ArtefactFiles) -> MadeOrRefused:
    """`make_files` for these artefacts, in a process of its own."""
    paths = StatePaths(settings)
    try:
        return make_files(paths, tenant, OfferedParts.of_files(files).parts, partial(UnitReader.load, paths.models))
    except TidegateError as error:
        return error.reason, error.hint


async def in_process(step: Callable[[], MadeOrRefused], niceness: int) -> MadeOrRefused:
    """Do a step in a process of its own. Where nobody waits for it any more the process is killed: what it has written
    is in a folder that the next one removes. Raises what the step raises, `BrokenProcessPool` where it was killed."""
    loop = asyncio.get_running_loop()
    spawning = multiprocessing.get_context("spawn")
    process = ProcessPoolExecutor(1, spawning, initializer=partial(begin_making, niceness))
    try:
        pid = await loop.run_in_executor(process, os.getpid)
        try:
            return await loop.run_in_executor(process, step)
        except asyncio.CancelledError:
            os.kill(pid, signal.SIGKILL)  # a worker that is ending has not the seconds that this would take
            raise
    finally:
        await asyncio.to_thread(process.shutdown)


def begin_making(niceness: int) -> None:
    """End with the process that began this one, and give way to others by so much."""
    end_with_parent()
    os.nice(niceness)


async def for_each(tenants: Iterable[str], step: Callable[[str], Awaitable[object]]) -> None:
    """Do a step for all tenants: none is held up by what fails for another. Raises the first error, and what only has
    to wait where there is no other."""
    failed: list[Exception] = []
    for tenant in tenants:
        try:
            await step(tenant)
        except Exception as error:  # noqa: BLE001 - raised below
            failed.append(error)
    if failed:
        raise min(failed, key=lambda error: isinstance(error, RetryLaterError))
