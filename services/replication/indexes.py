"""The indexes of a domain's tenants, brought to what its stores hold while the sync worker runs.

Promises that what changed is indexed soon, and that what could not be is a fault in the status and tried again.
Next: services/knowledge/replica/index_follower.py; index_verifier.py, for `tidegate sync verify`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version

from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.lazy_embedder import LazyEmbedder
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.replica.index_verifier import IndexReport, IndexVerifier
from tidegate.services.knowledge.replica.opening import open_followed_index
from tidegate.services.replication.stand_back import StandBack
from tidegate.services.settings import Settings
from tidegate.sync.rules.ownership import may_hold
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.loops import Loop
from tidegate.sync.store import ReplicaStore

AGAIN_EVERY_S = 30.0
SOURCE = "index"


class FollowedIndexes:
    """One index for each tenant; see `domain.IndexLegs` and `domain.OnChanged`. `on_followed` hears of each tenant of
    which all is indexed that is held. Indexes are opened when the first document comes.
    `standing` is told how much is taken in at once, and has the indexing stand back meanwhile."""

    def __init__(
        self, settings: Settings, stores: Mapping[str, ReplicaStore], on_followed: Callable[[str], None]
    ) -> None:
        """Raises `EmbeddingModelMissingError`."""
        self._settings = settings
        self._paths = StatePaths(settings)
        self._stores = stores
        self._embedder = LazyEmbedder(self._paths.models)
        self._on_followed = on_followed
        self.standing = StandBack()
        self._followers: dict[str, IndexFollower] = {}
        self._opening = threading.Lock()
        self._started: set[tuple[str, str]] = set()
        self._waiting: set[tuple[str, str]] = set()
        self._loop: Loop | None = None
        self._faults = Faults()

    def loop(self, faults: Faults) -> Loop:
        """What follows, for ever; its faults are kept with those of the worker."""
        self._faults = faults
        self._loop = Loop(SOURCE, self._follow_waiting, AGAIN_EVERY_S, faults)
        return self._loop

    def changed(self, tenant: str, collection: str) -> None:
        """Documents of a collection may have changed."""
        self._waiting.add((tenant, collection))
        if self._loop is not None:
            self._loop.wake()

    def generation(self, tenant: str, collection: str) -> int:
        """See `IndexLegs`."""
        follower = self._followers.get(tenant)
        return 0 if follower is None else follower.state(collection).generation

    def is_current(self, tenant: str) -> bool:
        """Whether all that is held of a tenant is indexed, and something was ever heard of the hub."""
        with self._stores[tenant].reading() as reader:
            records = [reader.record(name) for name in reader.collections()]
        if self._settings.site != HUB and not any(record.known_at_ms for record in records):
            return False
        return all(
            self.generation(tenant, record.collection.name) >= record.generation
            for record in records
            if may_hold(record.collection, self._settings.site)
        )

    async def compare(self, tenant: str, collection: str, is_repair: bool) -> Mapping[str, tuple[str, ...]]:
        """See `IndexLegs`. Raises what `IndexVerifier.verify` raises."""
        report = await asyncio.to_thread(self._verify, tenant, collection, is_repair)
        return {str(leg): names for leg, names in report.legs.items()}

    def close(self) -> None:
        """Close the indexes."""
        self.standing.end()
        for follower in self._followers.values():
            follower.index.close()

    def _verify(self, tenant: str, collection: str, is_repair: bool) -> IndexReport:
        return IndexVerifier(self._follower(tenant)).verify(collection, is_repairing=is_repair)

    def _follower(self, tenant: str) -> IndexFollower:
        with self._opening:
            if tenant not in self._followers:
                exact_below = self._settings.retriever.exact_below
                index = open_followed_index(self._paths.index(tenant), self._embedder, exact_below=exact_below)
                self._followers[tenant] = IndexFollower(
                    self._stores[tenant], index, version("tidegate"), self.standing.wait
                )
            return self._followers[tenant]

    async def _follow_waiting(self) -> None:
        failed: Exception | None = None
        for tenant, collection in sorted(self._waiting):
            about = f"{tenant}/{collection}"
            self._waiting.discard((tenant, collection))  # what comes meanwhile is looked at again
            try:
                damaged = await asyncio.to_thread(self._follow, tenant, collection)
            except Exception as error:  # noqa: BLE001 - one collection does not hold up the others
                self._waiting.add((tenant, collection))
                self._faults.note(about, error, SOURCE)
                failed = error
                continue
            if not damaged:
                self._faults.clear(about, SOURCE)
        if failed is not None:
            raise failed
        for tenant in self._stores:
            if await asyncio.to_thread(self.is_current, tenant):
                self._on_followed(tenant)

    def _follow(self, tenant: str, collection: str) -> tuple[str, ...]:
        follower = self._follower(tenant)
        rule = self._stores[tenant].record(collection).collection
        if not may_hold(rule, self._settings.site):
            follower.forget(collection)
            return ()
        step = follower.follow if (tenant, collection) in self._started else follower.start
        outcome = step(collection)
        if outcome.generation:  # a replica that was never whole is compared when it is
            self._started.add((tenant, collection))
        return outcome.damaged
