"""The answers that a runtime gives in process, on their way into the audit log of its site.

Promises that an answer is kept on the disk before it is given, and is in the log soon after, whether this process
writes that, or the audit worker of the same site does. Next: log.py; services/runtime.py."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from tidegate.schemas import Asked, Message, Published, TidegateError
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.services.evidence.bounds import sign_new, trim_once
from tidegate.services.evidence.entries import audited, draft_event
from tidegate.services.evidence.heads import HeadKeys
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.evidence.log_file import AuditBusyError
from tidegate.services.evidence.runtime_record import RuntimeRecord
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.author_keys import has_author_key, known_author_keys
from tidegate.services.fleet.hub_keys import passphrase_in_environment
from tidegate.services.fleet.machine_clock import open_trusted_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.loops import Loop, running
from tidegate.sync.trust.identity import IdentityFile
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.standing import read_machine_clock

EVERY_S = 5.0
"""How often it is looked whether the worker that wrote the log has gone."""
AT_ONCE = 10_000


class RuntimeLog:
    """Takes answers of one site, until `open_runtime_log` is left."""

    def __init__(self, settings: Settings, vault: Vault | None = None) -> None:
        """With the site's vault the facts of each request are kept too, sealed by it; see `runtime_record`."""
        paths = StatePaths(settings)
        kept_s = settings.retention.pipe_s
        self._record = None if vault is None else RuntimeRecord(paths.audit, vault, kept_s)
        self.faults = Faults("audit")
        self._settings = settings
        self._directory = paths.audit
        self._identity = IdentityFile(paths.trust)
        self._spool = EventSpool(paths.audit_events)
        self._trusted_ms = open_trusted_time(settings)
        keys = LiveKeys(paths.keys, settings.site, passphrase_in_environment)
        self._keys = HeadKeys(keys, lambda: read_machine_clock().wall_ms, partial(known_author_keys, settings))
        self._version = version("tidegate")  # each time it is asked, it is read from the disk
        self._taking = threading.Lock()  # a step that was begun goes on when its task is cancelled
        self.loop = Loop("runtime", self._take_in_thread, EVERY_S, self.faults)

    async def keep(self, published: Published, asked: Asked | None = None, facts: Sequence[Message] = ()) -> None:
        """The answer is on the disk when this returns, without its words; of a sealed request what it was decided by,
        sealed. Raises `OSError`, `sqlite3.Error`."""
        if self._record is not None and asked is not None:
            await asyncio.to_thread(self._record.keep, asked, facts, time.time())
        event = AuditEvent(kind=published.outcome, tenant=published.tenant, answer=audited(published))
        await asyncio.to_thread(self._spool.report, event)
        self.loop.wake()

    def take(self) -> None:
        """Log the answers that wait, sign the head, and keep the log within `retention`; where the audit worker has the
        log, it does all that.

        Raises `AuditDamagedError`, `AuditFullError`, and what signing raises; they wait on then.
        """
        with self._taking:
            self._take()

    def _take(self) -> None:
        waiting = [each for each in self._spool.waiting(AT_ONCE) if each.event is not None and each.event.answer]
        if not waiting:
            return
        incarnation = self._identity.load().incarnation if self._identity.exists else 1
        begun = AuditedAct(about=self._settings.site, reason=self._version)
        drafts = [EntryDraft(kind="log_opened", body=begun, source="log"), *map(draft_event, waiting)]
        try:
            with AuditLog.open(self._directory, self._settings.site, incarnation) as log:
                log.append(drafts, self._now_ms(log))
                self._spool.forget(waiting)
                sign_new(log, self._keys.sign)
                while trim_once(log, self._keys.sign, self._settings, self._now_ms(log)):
                    continue
        except AuditBusyError:
            return

    async def _take_in_thread(self) -> None:
        await asyncio.to_thread(self.take)

    def _now_ms(self, log: AuditLog) -> int:
        """The trusted time; where it cannot be had the log's own goes on, and the fault stands."""
        try:
            return self._trusted_ms()
        except TidegateError as error:
            self.faults.note("clock", error)
            return log.logged_at_ms


@asynccontextmanager
async def open_runtime_log(settings: Settings, vault: Vault | None = None) -> AsyncIterator[RuntimeLog | None]:
    """The log of the site's runtime; None where the site has no author key, by which no head could ever be signed.

    When it is left, what waits is logged. Raises then what `RuntimeLog.take` raises.
    """
    if not has_author_key(settings):
        yield None
        return
    log = RuntimeLog(settings, vault)
    async with running([log.loop]):
        yield log
    await asyncio.to_thread(log.take)
