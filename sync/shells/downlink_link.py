"""A site's end of what it is granted: says what its link takes, and makes mirrors anew that lack something or are gone.

What is granted no more is deleted here. A step that was cut is made again at the next start. Next: site_grants.py, the
hub's end; brokers/jetstream/granting.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import msgspec
import structlog

from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.granting import GRANTED, delete_mirror, lacks_any, make_mirror, purge_ungranted
from tidegate.brokers.jetstream.repair import read_mirror
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.lease import DownlinkReply, DownlinkRequest, MirrorState
from tidegate.schemas.subjects import lease_of
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.lease_requests import ask_hub
from tidegate.sync.trust.files import PRIVATE, replace_file

ARRIVES_S = 1.0
"""How long a message may be on its way that the hub has sent, before a mirror is made anew for it."""
TELL_EVERY_S = 60.0
"""How often the hub is told what the mirrors hold: JetStream shows neither a wiped mirror nor a rolled-back stream."""
MOST_ENDS = 4
log = structlog.get_logger()


NOTHING_TOLD: Mapping[str, MirrorState] = {}


class KnownGrants(msgspec.Struct, frozen=True, kw_only=True):
    """Of which tenants and collections the mirrors have all that there is, and which of them are being made anew.

    `ends` are the last messages that each mirror had when the hub was told of it, by sequence, with their times.
    """

    tenants: tuple[str, ...] = ()
    collections: tuple[tuple[str, str], ...] = ()
    remaking: tuple[str, ...] = ()
    ends: dict[str, dict[int, int]] = {}


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
        self._told_at_s = float("-inf")
        self.granted = DownlinkReply()
        """What the hub said last."""
        self.fault = ""

    async def follow(self) -> DownlinkReply:
        """Ask once, and have the mirrors be as they are granted. Raises `HubRefusedError`, `UnreachableError`,
        `JetStreamApiError`, `OSError`; what was begun is ended by the next call."""
        known = self._known()
        if known.remaking:
            return await self._remake(known)
        there = await api.stream_names(self._bus.link.client)
        mirrors = await self._states(there, known) if time.monotonic() - self._told_at_s >= TELL_EVERY_S else {}
        reply = await self._ask(known, mirrors=mirrors)
        if lacking := await self._lacking(reply, there):
            await asyncio.sleep(ARRIVES_S)
            reply = await self._ask(known, mirrors=await self._states(there.intersection(lacking), known))
            lacking = await self._lacking(reply, await api.stream_names(self._bus.link.client))
        if mirrors and not lacking:
            self._told_at_s = time.monotonic()
        if lacking:
            return await self._remake(msgspec.structs.replace(known, remaking=lacking))
        ends = {**known.ends, **{stream: each.ends for stream, each in mirrors.items()}}
        self._store(KnownGrants(tenants=reply.tenants, collections=reply.collections, ends=ends))
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

    async def _ask(
        self, known: KnownGrants, *, remade: tuple[str, ...] = (), mirrors: Mapping[str, MirrorState] = NOTHING_TOLD
    ) -> DownlinkReply:
        request = DownlinkRequest(
            kbit_s=self._settings.link_kbit_s,
            bulk_hours=self._settings.bulk_hours,
            wants_weights=self._wants_weights(),
            tenants=known.tenants,
            collections=known.collections,
            remade=remade,
            mirrors=dict(mirrors),
        )
        return await ask_hub(self._bus, lease_of(self._bus.domain), request, DownlinkReply)

    async def _remake(self, known: KnownGrants) -> DownlinkReply:
        """Delete the mirrors, have their carriers rewound, make them anew; what else is lacking is found next time."""
        self._store(known)
        site = self._bus.link.client
        for stream in known.remaking:
            await delete_mirror(site, stream)
        reply = await self._ask(known, remade=known.remaking)
        for stream in known.remaking:
            await make_mirror(site, self._bus.domain, stream, self._bus.retention)
        kept = {stream: ends for stream, ends in known.ends.items() if stream not in known.remaking}
        self._store(msgspec.structs.replace(known, remaking=(), ends=kept))
        log.info("mirrors_made_anew", streams=known.remaking)
        return reply

    async def _states(self, streams: Iterable[str], known: KnownGrants) -> dict[str, MirrorState]:
        """What mirrors hold, and where they ended when the hub was told before."""
        facts = [await read_mirror(self._bus.link.client, stream) for stream in streams if stream in GRANTED]
        states = {}
        for each in facts:
            ends = sorted({**known.ends.get(each.stream, {}), **each.ends}.items())[-MOST_ENDS:]
            states[each.stream] = MirrorState(each.messages, each.first, each.last, dict(ends))
        return states

    async def _lacking(self, reply: DownlinkReply, there: Collection[str]) -> tuple[str, ...]:
        """The mirrors that are not there, those that lack what the hub has sent, and those that the hub names."""
        site, lacking = self._bus.link.client, []
        for stream in GRANTED:
            is_missing = stream not in there or stream in reply.stale
            if is_missing or await lacks_any(site, stream, reply.passed.get(stream, ())):
                lacking.append(stream)
        return tuple(lacking)

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
