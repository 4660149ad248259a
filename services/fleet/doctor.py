"""Looks at one domain from the outside, check by check, and says what is wrong and what to do about it.

Promises to change nothing, and to return within seconds whatever is down: a check that cannot be made is a fault that
says so. Next: cli/site.py, which prints it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.api import connect, read_fills
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import plan_hub, plan_site
from tidegate.brokers.jetstream.repair import read_mirror
from tidegate.brokers.process.disk import disk_usage
from tidegate.brokers.topology.plan import TopologyPlan
from tidegate.brokers.topology.streams import DOWN
from tidegate.schemas import TidegateError, decode, encode
from tidegate.schemas.replica import CollectionRequest, ReplicaFault, ReplicaStatus
from tidegate.schemas.subjects import HUB, replica_request
from tidegate.services.fleet.endpoints import find_server, read_endpoints
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings
from tidegate.sync.rules.staleness import RUNGS, TimeJudgement, standing
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.identity import IdentityFile
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.sources import DirectorySource
from tidegate.sync.trust.standing import read_machine_clock

SILENT_S = 10.0
"""A mirror that has heard of its hub for longer than this is stale: carriers beat once a second."""
LEAST_FREE = 0.1
LEAST_FREE_BYTES = 2 << 30
VOUCHED_WITHIN_S = 600.0
"""The hub vouches once a minute, where nothing else is set."""
SOON_MS = 7 * 86_400_000
ASK_TIMEOUT_S = 3.0
CLOCK_TOLERANCE_MS = 60_000


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One check: `ok`, or what is wrong and what to do; a `warning` is no fault yet."""

    name: str
    state: Literal["ok", "warning", "fault"]
    detail: str
    hint: str = ""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks of one domain."""

    site: str
    checks: tuple[CheckResult, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether none of them found a fault."""
        return all(check.state != "fault" for check in self.checks)


DomainCheck = Callable[[Settings], Awaitable[tuple[CheckResult, ...]]]


async def examine(settings: Settings, step: Callable[[str], None] = lambda _: None) -> DoctorReport:
    """Make every check of the domain of `settings.site`; `step` is called with the name of each when it is done."""
    found: list[CheckResult] = []
    for name, check in (HUB_CHECKS if settings.site == HUB else SITE_CHECKS).items():
        try:
            found += await check(settings)
        except (TidegateError, OSError) as error:
            hint = getattr(error, "hint", "see the reason")
            found.append(CheckResult(name=name, state="fault", detail=str(error), hint=hint))
        step(name)
    return DoctorReport(site=settings.site, checks=tuple(found))


async def check_server(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether the domain's server answers, and its streams are as declared and have room."""
    started_s = time.perf_counter()
    async with connect(find_server(settings), settings.site) as client:
        reached = ok("server", f"answers within {(time.perf_counter() - started_s) * 1000:.0f} ms")
        stages = tuple(WORKERS.values())
        if settings.site == HUB:
            plan = await plan_hub(client, tuple(read_endpoints(settings).sites), stages, None, settings.retention)
        else:
            plan = await plan_site(client, settings.site, stages, settings.retention)
        fills = [each for each in await read_fills(client) if each.is_near]
    hint = "make it larger: `retention.sizes` and `tidegate topology apply`"
    filling = tuple((fault if each.is_full else warning)("streams", str(each), hint) for each in fills)
    return reached, judge_plan(plan), *filling


def judge_plan(plan: TopologyPlan) -> CheckResult:
    """Whether streams and consumers are as declared, or as somebody has set them by hand."""
    if plan.steps:
        names = ", ".join(step.name for step in plan.steps[:5])
        wrong = f"{len(plan.steps)} are not as declared: {names}"
        return fault("streams", wrong, "run `tidegate topology apply`")
    by_hand = f", but for {', '.join(plan.by_hand)}, which were set by hand" if plan.by_hand else ""
    return ok("streams", f"{len(plan.changes)} are as declared{by_hand}")


async def check_identity(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether the disk is this site."""
    identity = IdentityFile(StatePaths(settings).trust).load()
    if identity.site != settings.site:
        return (fault("identity", f"this disk is {identity.site}", "give each site a state directory of its own"),)
    return (ok("identity", f"{identity.site}, incarnation {identity.incarnation}"),)


async def check_clock(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether the trusted time is known, and how far the wall clock is from it."""
    judged = site_time(settings)
    off_ms = read_machine_clock().wall_ms - judged.trusted_ms
    if judged.is_doubtful:
        return (warning("clock", "the hub has told no time since this machine started", "it comes with the link"),)
    if abs(off_ms) > CLOCK_TOLERANCE_MS:
        hint = "set the clock of this machine; what is in force ages by the trusted time, whatever it says"
        return (warning("clock", f"the wall clock is {off_ms / 1000:+.0f} s off the trusted time", hint),)
    return (ok("clock", f"{off_ms:+d} ms off the trusted time"),)


async def check_keys(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether the domain has keys to sign with, and until when they and the repository's signatures hold."""
    paths, now_ms = StatePaths(settings), read_machine_clock().wall_ms
    store, found = KeyStore(paths.keys), []
    for role in ("device", "author"):
        good = [key for key in store.good(role, settings.site, now_ms) if store.has_private(key.key_id)]
        rotate = f"`tidegate keys rotate {role} --owner {settings.site}`"
        if not good:
            found.append(fault("keys", f"no good {role} key of {settings.site} is here", f"{rotate}, at the hub"))
        elif all(0 < key.expires_at_ms < now_ms + SOON_MS for key in good):
            own = f"`tidegate keys rotate {role} --site {settings.site}`, here"
            hint = f"{rotate}, at the hub" if settings.site == HUB else own
            found.append(warning("expiry", f"the {role} key ends within a week", hint))
        else:
            found.append(ok("keys", f"{len(good)} {role} key(s)"))
    return tuple(found)


async def check_repository(settings: Settings) -> tuple[CheckResult, ...]:
    """At the hub: whether the repository's signatures hold, each role by itself."""
    state = await asyncio.to_thread(Repository(StatePaths(settings).repository).state)
    now_s, found = time.time(), []
    for signed in (state.root, state.targets, state.snapshot, state.timestamp):
        left_s = signed.expires.timestamp() - now_s
        if left_s <= 0:
            hint = "start the hub's workers, which sign; `tidegate keys rotate root` for the root"
            found.append(fault("expiry", f"the signature of {signed.type} ended {-left_s / 86_400:.1f} days ago", hint))
        else:
            found.append(ok("expiry", f"{signed.type} holds for {left_s / 86_400:.1f} days"))
    return tuple(found)


async def check_generation(settings: Settings) -> tuple[CheckResult, ...]:
    """Which state of the hub's repository the site believes, and since when the hub has vouched for none."""
    trust = StatePaths(settings).trust
    generation = await asyncio.to_thread(RepositoryClient(trust, DirectorySource(trust)).generation)
    age_s = (site_time(settings).trusted_ms - generation.hub_time_ms) / 1000
    known = f"version {generation.version} is believed, which the hub vouched for {age_s:.0f} s ago"
    if age_s > VOUCHED_WITHIN_S:
        hint = "see whether the link is up; where the hub was restored: `tidegate keys renew --above VERSION` there"
        return (fault("repository", known, hint),)
    return (ok("repository", known),)


async def check_artefacts(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether what is in force is here as it was signed, and how old it is."""
    paths = StatePaths(settings)
    holdings = Holdings(paths.trust, paths.trust / "blobs")
    activated = holdings.activated()
    if not activated:
        return (fault("artefacts", "nothing is in force", "publish at the hub: `tidegate publish pack`"),)
    for held in activated.values():
        await asyncio.to_thread(holdings.verified, held.artefact)
    judged = site_time(settings)
    reached = standing_of(holdings, judged)
    if reached[0] != RUNGS[0]:
        return (fault("artefacts", f"the site is {reached[0]}: {reached[1]}", "bring the link to the hub back"),)
    return (ok("artefacts", f"{len(activated)} are in force, as they were signed"),)


async def check_mirrors(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether the mirrors of a site hear of the hub."""
    async with connect(find_server(settings), settings.site) as client:
        facts = [await read_mirror(client, stream) for stream in DOWN]
    stale = [each.stream for each in facts if each.silent_s is None or each.silent_s > SILENT_S]
    if stale:
        hint = "see whether the link is up, and whether the hub grants them: nats.log of both servers"
        return (fault("mirrors", f"nothing is heard of the hub in {', '.join(stale)}", hint),)
    return (ok("mirrors", f"{len(facts)} hear of the hub"),)


async def check_disk(settings: Settings) -> tuple[CheckResult, ...]:
    """Whether there is room for what is to come."""
    usage = await asyncio.to_thread(disk_usage, Path(settings.state_dir))
    free = f"{usage.free / (1 << 30):.1f} GiB of {usage.total / (1 << 30):.1f} are free"
    if usage.free < LEAST_FREE_BYTES and usage.free < usage.total * LEAST_FREE:
        return (fault("disk", free, "make room: a full stream refuses what comes"),)
    return (ok("disk", free),)


async def check_replicas(settings: Settings) -> tuple[CheckResult, ...]:
    """What the sync worker says of its replicas and its lease."""
    async with JetStreamBus.open(find_server(settings), settings.site) as bus:
        asked = encode(CollectionRequest())
        try:
            reply = await bus.request(replica_request("status"), asked, timeout_s=ASK_TIMEOUT_S)
        except UnreachableError as error:
            hint = f"start it: `tidegate worker sync --site {settings.site}`"
            return (fault("replicas", f"the sync worker does not answer: {error.reason}", hint),)
    status = decode(reply, ReplicaStatus, ReplicaFault)
    if isinstance(status, ReplicaFault):
        return (fault("replicas", status.reason, status.hint),)
    return (judge_replicas(status), *(() if settings.site == HUB else (judge_lease(status),)))


def judge_replicas(status: ReplicaStatus) -> CheckResult:
    """Whether replicas follow, and nothing has drifted or waits."""
    wrong = [
        f"{each.tenant}/{each.collection} is {each.state}{f' ({each.fault})' if each.fault else ''}"
        for each in status.collections
        if each.fault or each.state in ("fenced", "revoked")
    ]
    if status.is_fenced:
        wrong.append("this disk is fenced: it is a restored backup or a clone")
    if wrong:
        return fault("replicas", "; ".join(wrong), "see infra/runbooks: drift, and a revoked site")
    return ok("replicas", f"{len(status.collections)} collections, none is at fault")


def judge_lease(status: ReplicaStatus) -> CheckResult:
    """Whether the site may read what is sensitive."""
    left_s = (status.lease_until_ms - status.trusted_ms) / 1000
    if left_s <= 0:
        why = "; ".join(status.faults) or "it was never granted"
        return fault(
            "lease", f"there is none: {why}", "`tidegate site attest` asks for one, and says why there is none"
        )
    return ok("lease", f"{left_s:.0f} s are left, assurance: {status.assurance}")


def site_time(settings: Settings) -> TimeJudgement:
    """The trusted time of a site."""
    trust = StatePaths(settings).trust
    return RepositoryClient(trust, DirectorySource(trust)).clock.judge(read_machine_clock)


def standing_of(holdings: Holdings, judged: TimeJudgement) -> tuple[str, str]:
    """The rung that what is in force allows with a link, and why."""
    reached = standing(holdings.held(), judged, is_linked=True)
    return reached.rung, ", ".join(reached.because)


def ok(name: str, detail: str) -> CheckResult:
    return CheckResult(name=name, state="ok", detail=detail)


def warning(name: str, detail: str, hint: str) -> CheckResult:
    return CheckResult(name=name, state="warning", detail=detail, hint=hint)


def fault(name: str, detail: str, hint: str) -> CheckResult:
    return CheckResult(name=name, state="fault", detail=detail, hint=hint)


SITE_CHECKS: dict[str, DomainCheck] = {
    "server": check_server,
    "identity": check_identity,
    "clock": check_clock,
    "keys": check_keys,
    "mirrors": check_mirrors,
    "repository": check_generation,
    "artefacts": check_artefacts,
    "replicas": check_replicas,
    "disk": check_disk,
}
HUB_CHECKS: dict[str, DomainCheck] = {
    "server": check_server,
    "keys": check_keys,
    "expiry": check_repository,
    "replicas": check_replicas,
    "disk": check_disk,
}
