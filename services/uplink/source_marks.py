"""A site's end of telling its clone: marks what it escalates with numbers that its disk gives out once.

Two copies of one disk go on with the same numbers, each in a process of its own, which the hub notices whatever either
attests. Promises that a number is durable before it is used, so that a power cut gives none twice.
Next: source_watch.py, the hub's end."""

from __future__ import annotations

import asyncio
import fcntl
import secrets
from pathlib import Path

import msgspec

from tidegate.schemas import Escalated, replace
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.source_mark import SourceMark
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.identity import IdentityFile, NoIdentityError

FOR_ESCALATIONS = 32
"""A number is for so many escalations, then the next one is taken: two copies are told apart after as many of each."""
FILE = "sources.json"


class _Given(msgspec.Struct, frozen=True):
    last: int = 0


class SourceMarks:
    """The marks of one process; several of them may share `directory`, the site's own for its trust."""

    def __init__(self, directory: Path, incarnation: int) -> None:
        self._file = directory / FILE
        self._incarnation = incarnation
        self._boot_id = secrets.token_hex(8)
        self._taking = asyncio.Lock()
        self._mark: SourceMark | None = None
        self._left = 0

    @classmethod
    def of(cls, settings: Settings) -> SourceMarks | None:
        """Those of the site; None where it was never provisioned: then the hub has no record of it either. Raises
        `UnreadableError`."""
        trust = StatePaths(settings).trust
        try:
            return cls(trust, IdentityFile(trust).load().incarnation)
        except NoIdentityError:
            return None

    async def stamp(self, escalated: Escalated) -> Escalated:
        """The same, marked. Where no number can be stored now the last one goes on; raises `OSError` without any,
        and `UnreadableError`."""
        async with self._taking:
            if not self._left:
                try:
                    self._mark = await asyncio.to_thread(self._take)
                except OSError:
                    if self._mark is None:
                        raise
                self._left = FOR_ESCALATIONS
            self._left -= 1
            return replace(escalated, source=self._mark)

    def _read(self) -> _Given:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=_Given)
        except FileNotFoundError:
            return _Given()
        except msgspec.DecodeError as error:  # to begin anew would give out numbers twice
            raise UnreadableError(
                f"{self._file}: {error}", "provision the site anew, as its next incarnation"
            ) from error

    def _take(self) -> SourceMark:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.with_name(f".{FILE}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            number = self._read().last + 1
            replace_file(self._file, msgspec.json.encode(_Given(number)), PRIVATE)
        return SourceMark(incarnation=self._incarnation, number=number, boot_id=self._boot_id)
