"""Says of passages whether what they are of is known to be current: by the trusted time, when the question is asked.

Promises that what nobody vouches for is not called fresh, and that no question fails for it. Next: record_view.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
import structlog

from tidegate.schemas.answer import Passage
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.sync.record_view import RecordView
from tidegate.sync.records import ReplicaRecord

_log = structlog.get_logger()


class FreshnessJudge:
    """Judges for one domain. Several threads may use it; what the writer of the stores puts there counts at once."""

    def __init__(self, path_of: Callable[[str], Path], domain: str, now_ms: Callable[[], int]) -> None:
        """`path_of` is where the store of a tenant is, and `now_ms` the trusted time, by the hub's clock."""
        self._path_of = path_of
        self._domain = domain
        self._now_ms = now_ms
        self._views: dict[str, RecordView] = {}

    def judge(self, tenant: str, passages: Iterable[Passage]) -> tuple[Passage, ...]:
        """The passages with `known_at_ms` and `is_fresh`; those that no replica brought stay as they are."""
        found = tuple(passages)
        if not any(each.collection for each in found):
            return found
        now_ms, records = self._look(tenant)
        known = {each.collection: self._known_at(records.get(each.collection), now_ms) for each in found}
        return tuple(
            msgspec.structs.replace(each, known_at_ms=known[each.collection][0], is_fresh=known[each.collection][1])
            if each.collection
            else each
            for each in found
        )

    def _look(self, tenant: str) -> tuple[int, Mapping[str, ReplicaRecord]]:
        try:
            if tenant not in self._views:
                self._views[tenant] = RecordView(self._path_of(tenant))
            return self._now_ms(), self._views[tenant].records()
        except (TidegateError, sqlite3.Error) as error:
            _log.warning("replica.age_unknown", tenant=tenant, reason=str(error), instead="nothing is called fresh")
            return 0, {}

    def _known_at(self, record: ReplicaRecord | None, now_ms: int) -> tuple[int, bool]:
        """Whoever is the origin of a collection knows it as it is now."""
        if record is None:
            return 0, False
        if self._domain == HUB or record.collection.owner == "site":
            return now_ms, True
        known_at_ms = record.known_at_ms
        return known_at_ms, bool(known_at_ms) and now_ms - known_at_ms <= record.collection.fresh_within_s * 1000
