"""The audit worker of a domain: logs what its streams and its processes hold, signs heads, and has them witnessed.

Promises that what was stored while it was away is logged when it is back, once, and that a site without a link goes on
and catches up. Next: entries.py, log.py, heads.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from typing import TypeVar

import msgspec

from tidegate.brokers.base import Bus, UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.stored import StoredStream
from tidegate.schemas.audit import AuditedAct, HeadReply, HeadSubmission
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import encode
from tidegate.schemas.subjects import ANSWERS, HUB, heads_of, site_of
from tidegate.services.evidence.bounds import sign_new, trim_once
from tidegate.services.evidence.entries import FOLLOWED, draft_event, draft_of
from tidegate.services.evidence.heads import HeadKeys, HeadSubmitter, HeadWitness
from tidegate.services.evidence.log import NOWHERE, AuditLog, EntryDraft
from tidegate.services.evidence.log_file import AuditClosedError
from tidegate.services.evidence.metrics import METRICS
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.audit_status import FILE, AuditStatus
from tidegate.services.fleet.author_keys import known_author_keys
from tidegate.services.fleet.hub_keys import passphrase_in_environment
from tidegate.services.fleet.machine_clock import open_trusted_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.loops import Loop, running
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.identity import IdentityFile
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.site_records import SiteRecords
from tidegate.sync.trust.standing import read_machine_clock

RETRY_EVERY_S = 1.0
HEAR_EVERY_MS = 60_000
"""A site whose log stands still asks all the same, for the heads of the others."""
TRIM_EVERY_S = 60.0
PAGE = 256
T = TypeVar("T")


class AuditWorker:
    """Writes the log of one domain."""

    def __init__(self, settings: Settings, bus: JetStreamBus, log: AuditLog) -> None:
        paths = StatePaths(settings)
        self.faults = Faults("audit")
        self._settings = settings
        self._log = log
        self._writing = asyncio.Lock()
        self._is_closed = False
        self._spool = EventSpool(paths.audit_events)
        self._trusted_ms = open_trusted_time(settings)
        self._status_file = paths.audit / FILE
        streams = [name for name in FOLLOWED if settings.site != HUB or name != ANSWERS]
        self._streams = [StoredStream(bus, name) for name in streams]
        own = LiveKeys(paths.keys, settings.site, passphrase_in_environment)
        self._keys = HeadKeys(own, self._now_ms, partial(known_author_keys, settings))
        self._submitter = HeadSubmitter(log, self._keys, settings.site, bus)
        self._records = SiteRecords(paths.site_records)
        self._witness = HeadWitness(log, self._keys, self.faults, self._incarnation_of)
        self._asked_at_ms = 0
        self._shown = AuditStatus(domain=settings.site)

    def loops(self) -> list[Loop]:
        """What runs for as long as the worker does."""
        audit = self._settings.audit
        follow = Loop("follow", self.follow, audit.sign_every_s, self.faults)
        trim = Loop("trim", self.trim, TRIM_EVERY_S, self.faults)
        if self._settings.site == HUB:
            return [follow, trim]
        return [follow, trim, Loop("witness", self.submit, audit.witness_every_s, self.faults)]

    async def open(self) -> None:
        """Begin the log where there is none, and have events from now on. Raises as `AuditLog.append` does."""
        self._spool.open()
        begun = EntryDraft(
            kind="log_opened", body=AuditedAct(about=self._settings.site, reason=version("tidegate")), source="log"
        )
        await self._write(partial(self._append, [begun]))

    async def follow(self) -> None:
        """Log all that is new, and sign the head. Raises what reading and appending raise."""
        try:
            await self._follow_spool()
            for stream in self._streams:
                await self._follow_stream(stream)
            await self._write(self._sign)
        finally:
            await self._write(self._show)

    async def trim(self) -> None:
        """Keep the log within what `retention` says. Raises what reading and writing it raise."""
        while await self._write(self._trim):
            continue

    def _trim(self) -> bool:
        return trim_once(self._log, self._keys.sign, self._settings, self._now_ms(), self._witness.seen_size)

    async def submit(self) -> None:
        """Have the hub witness the newest head. Raises `HeadRefusedError` where it will not.

        Without a link there is nothing to be done: the head waits, and a later one stands for it too.
        """
        submission = await self._write(self._submitter.submission)
        now_ms = self._now_ms()
        heard_lately = now_ms - self._asked_at_ms < HEAR_EVERY_MS
        if submission is None or (not submission.proof and submission.old_size and heard_lately):
            return
        with suppress(UnreachableError):
            reply = await self._submitter.ask(submission)
            if reply.fault == "unproven":  # the hub has witnessed another head than the one that is known here
                submission = await self._write(partial(self._submitter.submission, reply.size)) or submission
                reply = await self._submitter.ask(submission)
            await self._take(reply, submission, now_ms)
            self._asked_at_ms = now_ms

    async def answer(self, subject: str, data: bytes) -> bytes:
        """At the hub: what answers a site that asks for a witness."""
        try:
            reply = await self._write(partial(self._witness.answer, site_of(subject), data, self._now_ms()))
        except (TidegateError, OSError) as error:
            self.faults.note("witness", error)
            return encode(HeadReply(fault="unavailable", reason="the hub cannot witness now"))
        self.faults.clear("witness")
        return encode(reply)

    async def _take(self, reply: HeadReply, submission: HeadSubmission, now_ms: int) -> None:
        against = await self._write(partial(self._submitter.take, reply, submission, now_ms))
        for each in against:
            self.faults.note("heads", each)
            METRICS.refused.labels(HUB, each.fault).inc()
        if not against:
            self.faults.clear("heads")

    async def _follow_spool(self) -> None:
        while events := await asyncio.to_thread(self._spool.waiting, PAGE):
            drafts = list(map(draft_event, events))
            await self._write(partial(self._append, drafts))
            for event in (each.event for each in events):
                if event is not None and event.kind == "head_accepted":  # it is logged: now it may be done
                    await self._write(partial(self._log.forget_heads, event.act.about))
                    self.faults.clear(event.act.about, "head")
            await asyncio.to_thread(self._spool.forget, events)

    async def _follow_stream(self, stream: StoredStream) -> None:
        after, last = self._log.cursors.get(stream.name, 0), await stream.last_sequence()
        if last < after:  # the stream was made anew: what is in it is logged by its ids, and what was logged is known
            after = 0
        while after < last and (page := await stream.first(FOLLOWED[stream.name], after, PAGE)):
            after = page[-1].sequence
            await self._write(partial(self._append, list(map(draft_of, page)), {stream.name: after}))
        if after < last:  # the end of the stream was deleted
            await self._write(partial(self._append, [], {stream.name: last}))

    def _append(self, drafts: Sequence[EntryDraft], cursors: Mapping[str, int] = NOWHERE) -> None:
        self._log.append(drafts, self._now_ms(), cursors)

    def _sign(self) -> None:
        sign_new(self._log, self._keys.sign)

    def _show(self) -> None:
        """Say in the status file and the metrics how the log is."""
        reader = self._log.reader
        signed = reader.newest_checkpoint()
        heads = {note.checkpoint.origin.rpartition("/")[2]: note.checkpoint.size for note in reader.heads().values()}
        status = AuditStatus(
            domain=self._settings.site,
            size=self._log.size,
            signed=signed.checkpoint.size if signed else 0,
            witnessed=heads.pop(reader.state().origin.rpartition("/")[2], 0),
            at_ms=read_machine_clock().wall_ms,
            heads=heads,
            faults=self.faults.all(),
            followed=dict(self._log.cursors),
        )
        METRICS.size.set(status.size)
        METRICS.signed.set(status.signed)
        METRICS.witnessed.set(status.witnessed)
        unchanged = msgspec.structs.replace(status, at_ms=self._shown.at_ms) == self._shown
        if not unchanged or status.at_ms - self._shown.at_ms > HEAR_EVERY_MS // 4:
            replace_file(self._status_file, msgspec.json.encode(status), PRIVATE)
            self._shown = status

    async def close(self) -> None:
        """Do nothing more with the log, which is closed next, once the step in hand has ended."""
        async with self._writing:
            self._is_closed = True

    async def _write(self, step: Callable[[], T]) -> T:
        """A step with the log, in a thread; one at a time. Raises `AuditClosedError`, and what the step raises."""
        async with self._writing:
            if self._is_closed:
                raise AuditClosedError(f"the audit log of {self._settings.site} is closed")
            doing = asyncio.ensure_future(asyncio.to_thread(step))
            try:
                return await asyncio.shield(doing)
            except asyncio.CancelledError:
                await asyncio.wait({doing})  # SQLite does not bear to be closed by one thread under another
                raise

    def _now_ms(self) -> int:
        """The trusted time; where it cannot be had the log's own goes on, and the fault stands."""
        try:
            now_ms = self._trusted_ms()
        except TidegateError as error:
            self.faults.note("clock", error)
            return self._log.logged_at_ms
        self.faults.clear("clock")
        return now_ms

    def _incarnation_of(self, site: str) -> int:
        try:
            record = self._records.load(site)
        except TidegateError:  # it is none of the hub's sites
            return 0
        return 0 if record.revoked_at_ms else record.incarnation


@asynccontextmanager
async def open_audit_worker(settings: Settings, bus: Bus) -> AsyncIterator[AuditWorker]:
    """The audit worker of a domain, until left. Raises `AuditBusyError`, `AuditDamagedError`, `OSError`."""
    assert isinstance(bus, JetStreamBus)  # there is nothing to follow in memory
    with ExitStack() as stack:
        identity = IdentityFile(StatePaths(settings).trust)  # a site's; the hub has none
        incarnation = identity.load().incarnation if identity.exists else 1
        log = stack.enter_context(AuditLog.open(StatePaths(settings).audit, settings.site, incarnation))
        worker = AuditWorker(settings, bus, log)
        await worker.open()
        if settings.site == HUB:
            await bus.respond_by_subject(heads_of("*"), worker.answer)
        try:
            async with running(worker.loops()):
                yield worker
        finally:
            await worker.close()


@asynccontextmanager
async def open_audit_beside(settings: Settings, bus: Bus) -> AsyncIterator[None]:
    """The same beside the stages of a domain, which answer on where the log cannot be written: what is to be logged
    waits in its streams, and the fault is shown until the log is mended."""

    async def keep() -> None:
        async with open_audit_worker(settings, bus):
            await asyncio.Event().wait()

    faults = Faults("audit")
    async with running(
        [
            Loop("log", keep, RETRY_EVERY_S, faults),
            Loop("faults", partial(_show_faults, settings, faults), RETRY_EVERY_S, faults),
        ]
    ):
        yield


async def _show_faults(settings: Settings, faults: Faults) -> None:
    """Say in the status file what keeps the log from being written; a worker that writes it says how it is."""
    if standing := faults.all():
        status = AuditStatus(domain=settings.site, at_ms=read_machine_clock().wall_ms, faults=standing)
        await asyncio.to_thread(replace_file, StatePaths(settings).audit / FILE, msgspec.json.encode(status), PRIVATE)
