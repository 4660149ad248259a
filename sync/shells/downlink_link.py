"""A site's end of what it is granted: says what its link takes, and makes mirrors anew that lack something or are gone.

What is granted no more is deleted here. A step that was cut is made again at the next start. Next: grants.py, the hub's
end; brokers/jetstream/granting.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.granting import GRANTED, delete_mirror, lacks_any, make_mirror
from tidegate.brokers.jetstream.regrant import purge_ungranted
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.lease import DownlinkReply, DownlinkRequest
from tidegate.schemas.subjects import lease_of
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.lease_requests import ask_hub
from tidegate.sync.trust.files import PRIVATE, replace_file

ARRIVES_S = 1.0
"""How long a message may be on its way that the hub has sent, before a mirror is made anew for it."""
log = structlog.get_logger()


class KnownGrants(msgspec.Struct, frozen=True, kw_only=True):
    """Of which tenants and collections the mirrors have all that there is, and which of them are being made anew."""

    tenants: tuple[str, ...] = ()
    collections: tuple[tuple[str, str], ...] = ()
    remaking: tuple[str, ...] = ()


class DownlinkFollower:
    """One site. `wants_weights` says whether somebody here waits for weights."""

    def __init__(
        self, bus: JetStreamBus, settings: SyncSettings, file: Path, wants_weights: Callable[[], bool]
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._file = file
        self._wants_weights = wants_weights
        self._purged: Downlink | None = None
        self.granted = DownlinkReply()
        """What the hub said last."""
        self.fault = ""

    async def follow(self) -> DownlinkReply:
        """Ask once, and have the mirrors be as they are granted. Raises `HubRefusedError`, `UnreachableError`,
        `JetStreamApiError`, `OSError`; what was begun is ended by the next call."""
        known = self._known()
        if known.remaking:
            return await self._remake(known)
        reply = await self._ask(known)
        lacking = await self._lacking(reply)
        if lacking:
            await asyncio.sleep(ARRIVES_S)
            lacking = await self._lacking(reply)
        if lacking:
            return await self._remake(msgspec.structs.replace(known, remaking=lacking))
        self._store(KnownGrants(tenants=reply.tenants, collections=reply.collections))
        await self._purge(reply)
        return reply

    async def keep(self) -> None:
        """Do so, for ever; what fails is tried again."""
        while True:
            try:
                self.granted = await self.follow()
                self.fault = ""
            except (TidegateError, OSError) as error:
                if str(error) != self.fault:
                    log.warning("downlink_not_followed", reason=str(error))
                self.fault = str(error)
            await asyncio.sleep(self._settings.head_every_s)

    async def _ask(self, known: KnownGrants, remade: tuple[str, ...] = ()) -> DownlinkReply:
        request = DownlinkRequest(
            kbit_s=self._settings.link_kbit_s,
            bulk_hours=self._settings.bulk_hours,
            wants_weights=self._wants_weights(),
            tenants=known.tenants,
            collections=known.collections,
            remade=remade,
        )
        return await ask_hub(self._bus, lease_of(self._bus.domain), request, DownlinkReply)

    async def _remake(self, known: KnownGrants) -> DownlinkReply:
        """Delete the mirrors, have their carriers rewound, make them anew; what else is lacking is found next time."""
        self._store(known)
        site = self._bus.link.client
        for stream in known.remaking:
            await delete_mirror(site, stream)
        reply = await self._ask(known, known.remaking)
        for stream in known.remaking:
            await make_mirror(site, self._bus.domain, stream)
        self._store(msgspec.structs.replace(known, remaking=()))
        log.info("mirrors_made_anew", streams=known.remaking)
        return reply

    async def _lacking(self, reply: DownlinkReply) -> tuple[str, ...]:
        """The mirrors that are not there, and those that lack what the hub has sent."""
        site = self._bus.link.client
        there = await api.stream_names(site)
        return tuple(
            [
                stream
                for stream in GRANTED
                if stream not in there or await lacks_any(site, stream, reply.passed.get(stream, ()))
            ]
        )

    async def _purge(self, reply: DownlinkReply) -> None:
        """Delete what is granted no more: twice, as some of it may have been on its way."""
        downlink = Downlink(tenants=reply.tenants, collections=reply.collections)
        before = self._purged
        self._purged = downlink
        if before is None or before != downlink or self.granted.collections != reply.collections:
            for stream in GRANTED:
                await purge_ungranted(self._bus.link.client, stream, downlink)

    def _known(self) -> KnownGrants:
        try:
            return msgspec.msgpack.decode(self._file.read_bytes(), type=KnownGrants)
        except (FileNotFoundError, msgspec.DecodeError):  # then all of them are looked at
            return KnownGrants()

    def _store(self, known: KnownGrants) -> None:
        if known != self._known():
            replace_file(self._file, msgspec.msgpack.encode(known), PRIVATE)
