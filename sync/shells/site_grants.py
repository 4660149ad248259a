"""What each site is sent, while it and the hub run: by its tenants, the owner rules, its lease, and its link.

A collection that a site may hold no more leaves the hub no more from that moment on. Next: rules/transfers.py, which
decides what crosses next; brokers/jetstream/granting.py; downlink_link.py, a site's end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.granting import (
    Carrier,
    downlink_in,
    fault_of_mirror,
    passed_by,
    pause_carrier,
    put_downlink,
    read_carriers,
    rewind_carrier,
)
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.faults import MirrorFacts
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.lease import DownlinkReply, DownlinkRequest, MirrorState
from tidegate.schemas.subjects import BUCKETS, object_stream
from tidegate.schemas.sync import Collection
from tidegate.sync.leasing import LeaseGate
from tidegate.sync.rules.ownership import may_hold
from tidegate.sync.rules.transfers import (
    URGENT,
    Grant,
    LinkBudget,
    OffPeak,
    TokenBucket,
    Transfer,
    TransferClass,
    next_chunk,
)

LOOK_EVERY_S = 0.5
CHECK_EVERY_S = 30.0
"""How often the carriers of a site are looked at for which nothing seems to change."""
BEHIND_FOR_S = 60.0
"""How long a bucket is held back behind a more urgent one; for longer, where that goes on."""
UNWANTED_FOR_S = 365 * 86_400.0
"""How long weights are held back that nobody waits for; when somebody does, they are not."""
DAY_S = 86_400.0
SLACK_S = 30.0
"""A pause that ends this much later or earlier is the same one."""
BULK: tuple[TransferClass, ...] = tuple(bucket for bucket in BUCKETS if bucket not in URGENT)  # type: ignore[misc]
log = structlog.get_logger()


class GrantPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What grants are made from: the collections at the hub, the sites with the tenants that each serves, their leases,
    and the hub's time."""

    bus: JetStreamBus
    collections: Callable[[], Sequence[Collection]]
    sites: Callable[[], Mapping[str, Sequence[str]]]
    gate: LeaseGate
    now_ms: Callable[[], int]


class SiteGrants:
    """The downlinks of all sites of a hub. What a site asks for is kept until it asks for something else; a hub that
    was started anew leaves rates and pauses as they are until then."""

    def __init__(self, ports: GrantPorts) -> None:
        self._ports = ports
        self._links: dict[str, DownlinkRequest] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        self._applied: dict[str, tuple[Downlink, float]] = {}
        self.fault = ""

    def downlink(self, site: str) -> Downlink:
        """What a site may be sent now; nothing where it was revoked, nothing sensitive where it has no lease."""
        tenants = tuple(self._ports.sites().get(site, ()))
        if self._ports.gate.is_revoked(site):
            return Downlink()
        is_leased = self._ports.gate.is_leased(site, self._ports.now_ms())
        link = self._links.get(site)
        return Downlink(
            tenants=tenants,
            collections=tuple(
                (each.tenant, each.name)
                for each in self._ports.collections()
                if each.tenant in tenants
                and each.owner == "shared"
                and may_hold(each, site)
                and (is_leased or not each.is_sensitive)
            ),
            rates=dict.fromkeys(BUCKETS, link.kbit_s * 1000) if link and link.kbit_s else {},
        )

    async def answer(self, site: str, request: DownlinkRequest) -> DownlinkReply:
        """What the site is granted, once it is. Raises `UnreachableError`, `JetStreamApiError`,
        `TopologyMissingError`."""
        self._links[site] = request
        async with self._lock(site):
            downlink, carriers = await self._apply(site)
            remade = [stream for stream in request.remade if stream in carriers]
            for stream in remade:
                await rewind_carrier(self._ports.bus.link.client, site, stream)
            known = Downlink(tenants=request.tenants, collections=request.collections)
            passed = {
                stream: await self._passed(stream, downlink, known, carrier)
                for stream, carrier in carriers.items()
                if stream not in remade
            }
            mirrors = {stream: each for stream, each in request.mirrors.items() if stream in carriers}
            stale = [stream for stream, each in mirrors.items() if await self._is_stale(site, stream, each)]
        return DownlinkReply(
            tenants=downlink.tenants,
            collections=downlink.collections,
            paused=tuple(bucket for bucket in BULK if _pause_of(carriers, bucket)),
            passed={stream: sequences for stream, sequences in passed.items() if sequences},
            stale=tuple(stale),
        )

    async def apply_all(self) -> None:
        """Grant every site what it may have now, and nothing else. Raises `UnreachableError`, `JetStreamApiError`."""
        for site in self._ports.sites():
            if not self._is_settled(site):
                async with self._lock(site):
                    await self._apply(site)

    async def keep(self) -> None:
        """Do so whenever something has changed, for ever; what fails is tried again."""
        while True:
            try:
                await self.apply_all()
                self.fault = ""
            except TidegateError as error:
                if error.reason != self.fault:
                    log.warning("not_granted", reason=error.reason)
                self.fault = error.reason
            await asyncio.sleep(LOOK_EVERY_S)

    async def _apply(self, site: str) -> tuple[Downlink, dict[str, Carrier]]:
        hub = self._ports.bus.link.client
        carriers = await read_carriers(hub, site)
        downlink = self.downlink(site)
        if site not in self._links:
            downlink = msgspec.structs.replace(downlink, rates=downlink_in(carriers).rates)
        if await put_downlink(hub, site, downlink, carriers):
            carriers = await read_carriers(hub, site)
        if (link := self._links.get(site)) is not None:
            now_s = self._ports.now_ms() / 1000
            for bucket, until_s in plan_pauses(carriers, link, now_s).items():
                carrier = carriers[object_stream(bucket)]
                if not is_same_pause(until_s, carrier.paused_until_s, now_s):
                    await pause_carrier(hub, site, bucket, until_s)
                    carriers[object_stream(bucket)] = msgspec.structs.replace(carrier, paused_until_s=until_s)
        self._applied[site] = (self.downlink(site), time.monotonic())
        return downlink, carriers

    def _is_settled(self, site: str) -> bool:
        """Whether nothing has to be done for a site, as far as can be known without asking the server."""
        link = self._links.get(site)
        if link is not None and (link.kbit_s or link.bulk_hours):
            return False
        applied, at_s = self._applied.get(site, (None, 0.0))
        return applied == self.downlink(site) and time.monotonic() - at_s < CHECK_EVERY_S

    async def _passed(self, stream: str, downlink: Downlink, known: Downlink, carrier: Carrier) -> tuple[int, ...]:
        new = sorted(set(downlink.filters(stream)) - set(known.filters(stream)))
        return await passed_by(self._ports.bus.link.client, stream, new, carrier) if new else ()

    async def _is_stale(self, site: str, stream: str, state: MirrorState) -> bool:
        """Whether a mirror, by what its site tells, has to be made anew; a rolled-back stream of the hub is said."""
        facts = MirrorFacts(stream=stream, messages=state.messages, first=state.first, last=state.last, ends=state.ends)
        fault = await fault_of_mirror(self._ports.bus.link.client, site, facts)
        if fault is not None:
            log.warning("mirror_is_stale", site=site, stream=stream, fault=fault)
        return fault is not None

    def _lock(self, site: str) -> asyncio.Lock:
        return self._changing.setdefault(site, asyncio.Lock())


def plan_pauses(carriers: Mapping[str, Carrier], link: DownlinkRequest, now_s: float) -> dict[TransferClass, float]:
    """Until when each bulk bucket is held back, Unix time; 0.0: not at all.

    Outside of the windows all are; on a link with a limit all but the one that is next; weights that nobody wants.
    """
    waiting = {bucket: carriers[object_stream(bucket)].pending for bucket in BULK if object_stream(bucket) in carriers}
    queue = [
        Transfer(id=bucket, kind=bucket, left=pending, is_wanted=bucket != "weights" or link.wants_weights)
        for bucket, pending in waiting.items()
        if bucket != "weights" or link.wants_weights
    ]
    windows = tuple(map(window_of, link.bulk_hours))
    rate = link.kbit_s * 125.0
    budget = LinkBudget(bucket=TokenBucket(rate=rate, burst=rate, tokens=rate, at_s=now_s), windows=windows)
    closed_s = min((window.wait_s(now_s) for window in windows), default=0.0)
    first = next_chunk(queue, now_s, budget)
    pauses: dict[TransferClass, float] = {}
    for bucket in waiting:
        until_s = now_s + closed_s if closed_s > 0.0 else 0.0
        is_behind = isinstance(first, Grant) and bool(link.kbit_s) and bucket != first.id
        if is_behind and not until_s:
            until_s = now_s + BEHIND_FOR_S
        if bucket == "weights" and not link.wants_weights:
            until_s = now_s + UNWANTED_FOR_S
        pauses[bucket] = until_s
    return pauses


def is_same_pause(until_s: float, known_until_s: float, now_s: float) -> bool:
    """Whether a pause need not be set anew: it ends at about that time, or neither ends today, or there is none."""
    known_until_s = known_until_s if known_until_s > now_s else 0.0
    if not until_s or not known_until_s:
        return until_s == known_until_s
    return abs(until_s - known_until_s) <= SLACK_S or min(until_s, known_until_s) > now_s + DAY_S


def window_of(hours: str) -> OffPeak:
    """The window of `22:00-06:00`."""
    start, end = (int(each[:2]) * 3600 + int(each[3:]) * 60 for each in hours.split("-"))
    return OffPeak(start_s=start, end_s=end)


def _pause_of(carriers: Mapping[str, Carrier], bucket: str) -> float:
    carrier = carriers.get(object_stream(bucket))
    return carrier.paused_until_s if carrier else 0.0
