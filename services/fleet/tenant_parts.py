"""What a stage makes of each tenant's pack in force, and how current that is: what it asks for every request.

A site with a directory `active` for a tenant answers by what is in force there, and by nothing else; one without, by
its pack's folder and what was prepared of it. Next: services/packs/active.py, sync/trust/standing.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from tidegate.schemas import Degradation
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import ActiveParts, MadeFiles, PackInForce, in_loader
from tidegate.services.planning.standing import degradations_of
from tidegate.services.settings import Settings
from tidegate.sync.trust.standing import FILE as STANDING
from tidegate.sync.trust.standing import StandingRecord, judge_standing, read_machine_clock, read_standing

P = TypeVar("P")


@dataclass(frozen=True)
class InForce(Generic[P]):
    """What holds for a request that begins now: the number of the generation, and what the stage makes of it."""

    generation: int
    parts: P


class TenantParts(Generic[P]):
    """By tenant, what `load` makes of its pack in force: see `open_tenant_parts`."""

    def __init__(self, settings: Settings, load: Callable[[PackInForce], P]) -> None:
        self._paths = StatePaths(settings)
        self._load = load
        self._active = {tenant: ActiveParts(tenant, self._paths.active(tenant), load) for tenant in settings.tenants}
        self._of_folder: dict[str, P] = {}

    def current(self, tenant: str) -> InForce[P] | None:
        """For a request that begins now; None where nothing is in force. Raises what keeps that from being read."""
        active = self._active[self._served(tenant)]
        found = active.current()
        if found is not None:
            return InForce(*found)
        return None if active.is_made else InForce(0, self._from_folder(tenant))

    async def at(self, tenant: str, generation: int) -> P | None:
        """For a request that was screened under this generation; None where nothing is in force.

        One that knows of none was screened under the pack's folder, or passed through a version that knows of none.
        Raises `GenerationGoneError`, and what keeps it from being read.
        """
        if generation:
            return await self._active[self._served(tenant)].at(generation)
        folder = self._of_folder.get(self._served(tenant))
        if folder is not None:
            return folder
        found = self.current(tenant)
        return None if found is None else found.parts

    async def refresh(self, tenant: str) -> None:
        """See what is in force now, for who does not watch."""
        active = self._active[self._served(tenant)]
        await active.refresh()
        if not active.is_made:
            await in_loader(partial(self._from_folder, tenant))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Load what is in force of every tenant; while this is open, see what comes into force."""
        async with AsyncExitStack() as stack:
            for tenant, active in self._active.items():
                await self.refresh(tenant)
                await stack.enter_async_context(active.watching())
            yield

    def _from_folder(self, tenant: str) -> P:
        served = self._served(tenant)
        if served not in self._of_folder:
            self._of_folder[served] = self._load(find_folder(self._paths, served))
        return self._of_folder[served]

    def _served(self, tenant: str) -> str:
        """Who is not served here is treated as the first tenant; there is no document for it."""
        return tenant if tenant in self._active else next(iter(self._active))


@asynccontextmanager
async def open_tenant_parts(settings: Settings, load: Callable[[PackInForce], P]) -> AsyncIterator[TenantParts[P]]:
    """What `load` makes of each tenant's pack in force, loaded now and as it changes; each in a thread.

    Raises what `load` raises of a pack's folder: a site without anything in force is opened, and is closed to requests.
    """
    parts = TenantParts(settings, load)
    async with parts.watching():
        yield parts


def find_folder(paths: StatePaths, tenant: str) -> PackInForce:
    """The folder of the pack that the settings name, with what `prepare` made of it for the tenant."""
    made = MadeFiles(paths.intent_head, paths.published, paths.calibration, paths.tuned_calibration(tenant))
    return PackInForce(tenant, paths.pack, made)


class SiteStanding:
    """What a site that is out of date gives up, as of now; it is full where no sync worker ever wrote how old it is."""

    def __init__(self, settings: Settings) -> None:
        self._directory = StatePaths(settings).trust
        self._seen: tuple[int, int] | None = None
        self._record: StandingRecord | None = None

    def degradations(self, tenant: str) -> tuple[Degradation, ...]:
        """For a request that begins now. Raises `UnreadableError`."""
        record = self._read()
        return () if record is None else degradations_of(judge_standing(record, tenant, read_machine_clock()))

    def _read(self) -> StandingRecord | None:
        """What was written last, read anew only where it was written anew."""
        try:
            found = (self._directory / STANDING).stat()
        except FileNotFoundError:
            return None
        if (seen := (found.st_ino, found.st_mtime_ns)) != self._seen:
            self._record, self._seen = read_standing(self._directory), seen
        return self._record
