"""What a site has in force besides documents: fetched as it is published, verified, activated, and aged by its budgets.

What is urgent comes first; weights only where an adapter needs them, or an earlier epoch of them is in force. What
cannot be had is named and tried again, and what was in force goes on. Next: trust/client.py, trust/holdings.py;
activation_site.py, for critical policies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.replica import ArtefactStatus
from tidegate.sync.rules.staleness import HeldArtefact, Now, TimeJudgement
from tidegate.sync.rules.transfers import ORDER
from tidegate.sync.shells.refused_sites import OnRefused, tell_nobody
from tidegate.sync.shells.repository_link import Stores
from tidegate.sync.shells.repository_objects import METADATA_CLASS, class_of, locate_metadata
from tidegate.sync.trust.client import NotProvisionedError, RepositoryClient
from tidegate.sync.trust.faults import BlobMissingError, MalformedMetadataError, SourceUnavailableError
from tidegate.sync.trust.generation import Generation
from tidegate.sync.trust.holdings import ActivatedArtefact, Holdings
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.publication import TIMESTAMP

LOOK_EVERY_S = 0.2
RETRY_S = 2.0
STANDING_EVERY_S = 5.0
CHECKPOINT_EVERY_S = 60.0
PUBLISHED = "artefacts/"
REPOSITORY = "repository"
"""What is refused where it is no single artefact."""
Activate = Callable[[str], Awaitable[None]]
"""Has readers get what is in force of a tenant, all at once. Raises a `TidegateError` where that cannot be."""
WriteStanding = Callable[[tuple[HeldArtefact, ...], TimeJudgement], None]
"""Keeps for other processes of the site what is in force, how old it is, and the trusted time."""
log = structlog.get_logger()


class ArtefactPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a site's artefacts are kept with; `activated` hears which of them came into force, `on_refused` what is not
    believed or cannot be used, as often as it is tried."""

    client: RepositoryClient
    holdings: Holdings
    stores: Stores
    tenants: Sequence[str]
    activate: Activate
    write_standing: WriteStanding
    now: Callable[[], Now]
    activated: Callable[[ArtefactDescriptor], None] = lambda _: None
    on_refused: OnRefused = tell_nobody


class ArtefactSync:
    """One site. `fault` is why the last refresh failed, `faults` why an artefact is not in force, by target."""

    def __init__(self, ports: ArtefactPorts, keyring: Keyring) -> None:
        """`keyring` is what is judged by until the hub's own register was read."""
        self._ports = ports
        self._keyring = keyring
        self._generation: Generation | None = None
        self._unapplied = set(ports.tenants)  # also what a process that was killed has left
        self._seen = ""
        self._soon = asyncio.Event()
        self.fault = ""
        self.faults: dict[str, str] = {}

    @property
    def keyring(self) -> Keyring:
        """The keys that the hub trusts, as they were last verified."""
        return self._keyring

    @property
    def waits_for_weights(self) -> bool:
        """Whether weights are wanted here that are not in force."""
        held = self._held()
        return any(self._is_wanted(path, held) for path, _ in self._pending(held) if class_of(path) == "weights")

    def sync_soon(self) -> None:
        """Look at the repository now."""
        self._seen = ""
        self._soon.set()

    async def sync(self) -> None:
        """Take over what the hub has published, as far as it is here. Raises as `RepositoryClient.refresh` does; what
        is wrong with a single artefact is in `faults`."""
        ports = self._ports
        self._generation = await ports.client.refresh(ports.now)
        await self.read_keyring()
        ports.holdings.confirm(self._generation)
        held = self._held()
        pending = self._pending(held)
        known = {path for path, _ in pending}
        self.faults = {
            path: why for path, why in self.faults.items() if path in known or not path.startswith(PUBLISHED)
        }
        for path, artefact in pending:
            if class_of(path) == "weights" and not self._is_wanted(path, held):
                continue
            if await self._take(path):
                self._unapplied.add(artefact.tenant)
                ports.activated(artefact)
        await self._apply()

    async def keep(self) -> None:
        """Do so whenever the mirror shows another timestamp, for ever; what is in force ages meanwhile."""
        loop = asyncio.get_running_loop()
        retry_at_s = standing_at_s = checkpoint_at_s = 0.0
        while True:
            if loop.time() >= retry_at_s or await self._has_changed():
                await self._try_to_sync()
                is_whole = not (self.fault or self.faults or self._unapplied)
                retry_at_s = loop.time() + (float("inf") if is_whole else RETRY_S)
                standing_at_s = 0.0
            if loop.time() >= standing_at_s:
                self._write_standing()
                standing_at_s = loop.time() + STANDING_EVERY_S
            if loop.time() >= checkpoint_at_s:
                self._checkpoint()
                checkpoint_at_s = loop.time() + CHECKPOINT_EVERY_S
            await self._wait()

    def status(self) -> tuple[ArtefactStatus, ...]:
        """What is in force, and what is offered, of the site's tenants."""
        held, offered = self._held(), dict(self._offered())
        rows = []
        for path in sorted({*held, *offered}):
            known = held[path].artefact if path in held else None
            newest = offered.get(path) or known
            assert newest is not None  # the path is of one of them
            rows.append(
                ArtefactStatus(
                    tenant=newest.tenant,
                    kind=newest.kind,
                    name=newest.name,
                    epoch=known.epoch if known else 0,
                    offered=newest.epoch,
                    digest=known.digest if known else "",
                    size=newest.size,
                    current_at_ms=held[path].current_at_ms if path in held else 0,
                    is_critical=newest.is_critical,
                    fault=self.faults.get(path, ""),
                )
            )
        return tuple(rows)

    async def _take(self, path: str) -> bool:
        """Whether an artefact is in force now that was not; where it is not, `faults` says why."""
        generation = self._generation
        assert generation is not None  # it was refreshed just now
        try:
            await self._ports.client.fetch(path)
            await asyncio.to_thread(self._ports.holdings.activate, path, generation)
        except (BlobMissingError, SourceUnavailableError) as error:
            self.faults[path] = f"on its way: {error.reason}"
            return False
        except (TidegateError, OSError) as error:
            if self.faults.get(path) != str(error):
                log.warning("artefact_refused", target=path, reason=str(error))
            self.faults[path] = str(error)
            self._tell(path, error)
            return False
        self.faults.pop(path, None)
        return True

    async def _apply(self) -> None:
        """Have readers get what is in force; of a tenant of which nothing is, there is nothing to get."""
        held = {each.artefact.tenant for each in self._held().values() if each.artefact.switch is None}
        for tenant in sorted(self._unapplied):
            try:
                if tenant in held:
                    await self._ports.activate(tenant)
            except TidegateError as error:
                subject = f"tenant {tenant}"
                self._tell(subject, error)
                if self.faults.get(subject) != error.reason:
                    log.warning("artefacts_not_applied", tenant=tenant, reason=error.reason)
                self.faults[subject] = error.reason
                continue
            self._unapplied.discard(tenant)
            self.faults.pop(f"tenant {tenant}", None)

    async def _try_to_sync(self) -> None:
        try:
            await self.sync()
            self.fault = ""
        except (TidegateError, OSError) as error:
            if str(error) != self.fault:
                log.warning("repository_refused", reason=str(error))
            self.fault = str(error)
            self._tell(REPOSITORY, error)
            await self._apply()  # what a process that was killed has left needs no hub

    async def read_keyring(self) -> None:
        """Check by the keys of the generation that was read last, whoever read it."""
        try:
            self._keyring = await self._ports.client.keyring()
            self.faults.pop("keys", None)
        except (TidegateError, OSError) as error:
            self.faults["keys"] = str(error)
            self._tell("keys", error)

    def _tell(self, about: str, error: TidegateError | OSError) -> None:
        if isinstance(error, TidegateError):
            self._ports.on_refused(about, error)

    async def _has_changed(self) -> bool:
        """Whether the mirror has another timestamp than the one that was looked at last."""
        location = locate_metadata(self._ports.tenants[0], TIMESTAMP)
        try:
            newest = (await self._ports.stores[METADATA_CLASS].info(location.name)).nuid
        except TidegateError:  # there is none, or the server is away: the next refresh says which
            return False
        before, self._seen = self._seen, newest
        return newest != before

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._soon.wait()
        except TimeoutError:
            return
        self._soon.clear()

    def _pending(self, held: dict[str, ActivatedArtefact]) -> list[tuple[str, ArtefactDescriptor]]:
        """What is published and not in force, the most urgent first. Switches are taken over by switch_sync.py."""
        pending = [
            (path, artefact)
            for path, artefact in self._offered()
            if artefact.switch is None and (path not in held or held[path].artefact.epoch < artefact.epoch)
        ]
        return sorted(pending, key=lambda each: (ORDER.index(class_of(each[0])), each[0]))

    def _offered(self) -> list[tuple[str, ArtefactDescriptor]]:
        generation = self._generation or self._stored()
        if generation is None:
            return []
        return [
            (path, artefact)
            for path, artefact in generation.artefacts.items()
            if path.startswith(PUBLISHED) and artefact.tenant in self._ports.tenants
        ]

    def _stored(self) -> Generation | None:
        try:
            self._generation = self._ports.client.generation()
        except (NotProvisionedError, MalformedMetadataError):
            return None
        return self._generation

    def _is_wanted(self, path: str, held: dict[str, ActivatedArtefact]) -> bool:
        """Weights are wanted where an adapter that is offered fits them, and where an earlier epoch is in force."""
        offered = dict(self._offered())
        bases = {
            digest for each in offered.values() if each.tenant == offered[path].tenant for digest in each.base_digests
        }
        return path in held or offered[path].digest in bases

    def _held(self) -> dict[str, ActivatedArtefact]:
        return self._ports.holdings.activated()

    def _write_standing(self) -> None:
        try:
            time = self._ports.client.clock.judge(self._ports.now)
            self._ports.write_standing(self._ports.holdings.held(), time)
            self.faults.pop("standing", None)
        except (TidegateError, OSError) as error:
            self.faults["standing"] = str(error)

    def _checkpoint(self) -> None:
        try:
            self._ports.client.clock.checkpoint(self._ports.now)
            self.faults.pop("clock", None)
        except (TidegateError, OSError) as error:
            self.faults["clock"] = str(error)
