"""Has a site know the switches to evidence-only as soon as they are in its mirror, whatever else it is busy with.

A loop of its own: parts of a pack may take half a minute to come into force, and a switch has to be in force within
seconds. What was held goes on without the hub. Next: artefact_sync.py, all else; sync/trust/switches.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.errors import TidegateError
from tidegate.sync.rules.staleness import Now
from tidegate.sync.shells.repository_link import Stores
from tidegate.sync.shells.repository_objects import METADATA_CLASS, locate_metadata
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.publication import TIMESTAMP
from tidegate.sync.trust.switches import HeldSwitch, switches_in

LOOK_EVERY_S = 0.2
RETRY_S = 2.0
"""As artefact_sync.py: an offline site whose metadata have expired tries for as long as it is offline."""
PUBLISHED = "artefacts/"
log = structlog.get_logger()


class SwitchPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a site's switches are kept with; `write` has other processes of the site read them, `refreshed` hears that
    the repository was read: what it says of keys holds from then on."""

    client: RepositoryClient
    holdings: Holdings
    stores: Stores
    tenants: Sequence[str]
    write: Callable[[tuple[HeldSwitch, ...]], None]
    now: Callable[[], Now]
    refreshed: Callable[[], Awaitable[None]]


class SwitchSync:
    """One site. `fault` is why the switches of the hub are not all in force here."""

    def __init__(self, ports: SwitchPorts) -> None:
        self._ports = ports
        self._seen = ""
        self._written: tuple[HeldSwitch, ...] | None = None
        self.fault = ""

    async def sync(self) -> None:
        """Take over what the hub has signed. Raises as `RepositoryClient.refresh`, `fetch` and `Holdings.activate` do;
        one that cannot be had keeps no other one back."""
        await self._write()  # what a process that was killed has left
        generation = await self._ports.client.refresh(self._ports.now)
        await self._ports.refreshed()
        failed: Exception | None = None
        for path, artefact in generation.artefacts.items():
            if not self._is_new(path, artefact):
                continue
            try:
                await self._ports.client.fetch(path)
                await asyncio.to_thread(self._ports.holdings.activate, path, generation)
            except (TidegateError, OSError) as error:
                failed = error
        await self._write()
        if failed is not None:
            raise failed

    async def keep(self) -> None:
        """Do so whenever the mirror shows another timestamp, for ever."""
        loop = asyncio.get_running_loop()
        retry_at_s = 0.0
        while True:
            if loop.time() >= retry_at_s or await self._has_changed():
                await self._try_to_sync()
                retry_at_s = loop.time() + (RETRY_S if self.fault else float("inf"))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _try_to_sync(self) -> None:
        try:
            await self.sync()
            self.fault = ""
        except (TidegateError, OSError) as error:
            if str(error) != self.fault:
                log.warning("switches_not_in_force", reason=str(error))
            self.fault = str(error)

    def _is_new(self, path: str, artefact: ArtefactDescriptor) -> bool:
        is_ours = path.startswith(PUBLISHED) and artefact.tenant in self._ports.tenants
        if not is_ours or artefact.switch is None:
            return False
        held = self._ports.holdings.activated().get(path)
        return held is None or held.artefact.epoch < artefact.epoch

    async def _write(self) -> None:
        held = switches_in(each.artefact for each in self._ports.holdings.activated().values())
        if held != self._written and (held or self._written is not None):
            await asyncio.to_thread(self._ports.write, held)
            self._written = held

    async def _has_changed(self) -> bool:
        location = locate_metadata(self._ports.tenants[0], TIMESTAMP)
        try:
            newest = (await self._ports.stores[METADATA_CLASS].info(location.name)).nuid
        except TidegateError:  # there is none, or the server is away: artefact_sync.py says which
            return False
        before, self._seen = self._seen, newest
        return newest != before
