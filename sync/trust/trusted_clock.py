"""Keeps on disk what the hub last told of the time, so that no restart makes anything younger.

The rules are those of sync/rules/staleness.py; what the machine's clocks say is passed in. Next: client.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decoder_of
from tidegate.sync.rules.staleness import Now, TimeJudgement, TrustedTime, checkpoint, judge_time, trust
from tidegate.sync.trust.files import PRIVATE, replace_file

TIME_FILE = "time.msgpack"
"""Its name in the directory of what a site trusts."""
Clocks = Now | Callable[[], Now]
"""What the machine's clocks say, or what reads them: where others may store a later reading meanwhile."""
_read_time = decoder_of(TrustedTime)


class TrustedClock:
    """The trusted time of a site, in one file. Several threads may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changing = threading.RLock()

    def known(self) -> TrustedTime | None:
        """What is stored; None before the hub ever told a time. Raises `UnreadableError`."""
        try:
            return _read_time(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{self._path}: {error}", "refresh the site; what it holds ages from then") from error

    def judge(self, clocks: Clocks) -> TimeJudgement:
        """The trusted time; before the hub ever told one the wall clock's, which is doubtful.

        Raises `TimeWentBackError`, `UnreadableError`.
        """
        with self._changing:
            known, now = self.known(), read_clocks(clocks)
        return judge_time(known, now) if known else TimeJudgement(trusted_ms=now.wall_ms, is_doubtful=True)

    def tell(self, hub_time_ms: int, clocks: Clocks, is_live: bool = False) -> None:
        """Go by a time that the hub has signed. `is_live`: it answers a nonce of this site, so that it is no replay.

        The first may be as old as a signature lasts: the wall clock may make it later, until a live one corrects that.
        Raises `TimeWentBackError`, `UnreadableError`, `OSError`.
        """
        with self._changing:
            known, now = self.known(), read_clocks(clocks)
            if known is None and not is_live:
                known = TrustedTime(
                    trusted_ms=now.wall_ms, boot_id=now.boot_id, monotonic_ms=now.monotonic_ms, wall_ms=now.wall_ms
                )
            self._store(trust(hub_time_ms, now, known, is_live))

    def checkpoint(self, clocks: Clocks) -> None:
        """Store what has passed; now and then. Raises `TimeWentBackError`, `UnreadableError`, `OSError`."""
        with self._changing:
            if known := self.known():
                self._store(checkpoint(known, read_clocks(clocks)))

    def _store(self, time: TrustedTime) -> None:
        replace_file(self._path, msgspec.msgpack.encode(time), PRIVATE)


def read_clocks(clocks: Clocks) -> Now:
    """What the clocks say."""
    return clocks if isinstance(clocks, Now) else clocks()
