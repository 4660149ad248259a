"""Keeps on disk what the hub last told of the time, so that no restart makes anything younger.

The rules are those of sync/rules/staleness.py; what the machine's clocks say is passed in. Next: client.py."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegate.schemas.errors import UnreadableError
from tidegate.sync.rules.staleness import Now, TimeJudgement, TrustedTime, checkpoint, judge_time, trust
from tidegate.sync.trust.files import PRIVATE, replace_file

TIME_FILE = "time.msgpack"
"""Its name in the directory of what a site trusts."""


class TrustedClock:
    """The trusted time of a site, in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self) -> TrustedTime | None:
        """What is stored; None before the hub ever told a time. Raises `UnreadableError`."""
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=TrustedTime)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{self._path}: {error}", "refresh the site; what it holds ages from then") from error

    def judge(self, now: Now) -> TimeJudgement:
        """The trusted time; before the hub ever told one the wall clock's, which is doubtful.

        Raises `TimeWentBackError`, `UnreadableError`.
        """
        known = self.known()
        return judge_time(known, now) if known else TimeJudgement(trusted_ms=now.wall_ms, is_doubtful=True)

    def tell(self, hub_time_ms: int, now: Now, is_live: bool = False) -> None:
        """Go by a time that the hub has signed. `is_live`: it answers a nonce of this site, so that it is no replay.

        The first may be as old as a signature lasts: the wall clock may make it later, until a live one corrects that.
        Raises `TimeWentBackError`, `UnreadableError`, `OSError`.
        """
        known = self.known()
        if known is None and not is_live:
            known = TrustedTime(
                trusted_ms=now.wall_ms, boot_id=now.boot_id, monotonic_ms=now.monotonic_ms, wall_ms=now.wall_ms
            )
        self._store(trust(hub_time_ms, now, known, is_live))

    def checkpoint(self, now: Now) -> None:
        """Store what has passed; now and then. Raises `TimeWentBackError`, `UnreadableError`, `OSError`."""
        if known := self.known():
            self._store(checkpoint(known, now))

    def _store(self, time: TrustedTime) -> None:
        replace_file(self._path, msgspec.msgpack.encode(time), PRIVATE)
