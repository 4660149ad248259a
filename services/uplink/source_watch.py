"""The hub's end of telling a site's clone: which process of a site has used which number, on both lanes.

Promises that a site of which two processes use one number is fenced before the message that shows it is answered, and
that an honest site never is, whatever is restarted, late, or comes twice. Next: source_marks.py; intake.py."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import structlog

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.source_mark import SourceMark
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.site_records import SiteRecords, UnknownSiteRecordError

SourceFault = Literal["", "fenced", "former"]
MOST_NUMBERS = 4096
"""Of one site, the newest; what is older is not judged."""
_log = structlog.get_logger()


class SeenSources(msgspec.Struct, frozen=True, kw_only=True):
    """By number the process that used it first, in one incarnation of a site."""

    incarnation: int = 0
    by_number: dict[int, str] = {}

    def clone_of(self, mark: SourceMark) -> str:
        """The process that has used the mark's number before, where it is another one."""
        before = self.by_number.get(mark.number, mark.boot_id)
        return before if before != mark.boot_id else ""

    def has(self, mark: SourceMark) -> bool:
        """Whether nothing is to be learnt of it: it is known, or older than all that is kept."""
        if mark.number in self.by_number:
            return True
        return len(self.by_number) >= MOST_NUMBERS and mark.number < min(self.by_number)

    def seeing(self, mark: SourceMark) -> SeenSources:
        """With this one."""
        kept = sorted({**self.by_number, mark.number: mark.boot_id}.items())[-MOST_NUMBERS:]
        return SeenSources(incarnation=mark.incarnation, by_number=dict(kept))


class SourceWatch:
    """What has come up from the sites of one hub; several processes may share `directory`."""

    def __init__(self, directory: Path, records: SiteRecords) -> None:
        self._directory = directory
        self._records = records
        self._seen: dict[str, SeenSources] = {}

    def is_known(self, site: str, mark: SourceMark | None) -> bool:
        """Whether this needs no `check`: it has no mark, as of an older site, or its process has used it before."""
        if mark is None:
            return True
        seen = self._seen.get(site, SeenSources())
        return seen.incarnation == mark.incarnation and seen.has(mark) and not seen.clone_of(mark)

    def check(self, site: str, mark: SourceMark) -> SourceFault:
        """Learn of a mark: `fenced`, as the site is now, where there are two of it; `former`, where this is what it was
        before it was provisioned anew. Works on the disk.

        A site that the hub never provisioned can have no clone, nor be fenced. Raises `UnreadableError`, `OSError`.
        """
        with self._records.changing():
            try:
                record = self._records.load(site)
            except UnknownSiteRecordError:
                return ""
            if mark.incarnation != record.incarnation:
                return "former" if mark.incarnation < record.incarnation else ""
            seen = self._load(site, mark.incarnation)
            if other := seen.clone_of(mark):
                reason = f"the processes {other} and {mark.boot_id} have both escalated as number {mark.number}"
                if not record.fenced:
                    self._records.store(msgspec.structs.replace(record, fenced=reason))
                    _log.error("site_fenced", fenced=site, reason=reason)
                return "fenced"
            if not seen.has(mark):
                seen = seen.seeing(mark)
                replace_file(self._path(site), msgspec.json.encode(seen), PRIVATE)
            self._seen[site] = seen
        return ""

    def _load(self, site: str, incarnation: int) -> SeenSources:
        path = self._path(site)
        try:
            seen = msgspec.json.decode(path.read_bytes(), type=SeenSources)
        except FileNotFoundError:
            return SeenSources(incarnation=incarnation)
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{path}: {error}", "restore it from a backup, or delete it") from error
        return seen if seen.incarnation == incarnation else SeenSources(incarnation=incarnation)

    def _path(self, site: str) -> Path:
        return self._directory / f"{site}.json"
