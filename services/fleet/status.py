"""What is up below a state directory, found out from the outside: files, servers, HTTP, streams.

Promises to return within seconds whatever is down, and to change nothing. Next: cli/status.py.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.ready import read_ready_processes, ready_file
from tidegate.brokers.servers.running import find_server_pid, is_alive
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.topology.fill import StreamFill
from tidegate.schemas import CloudState, ReplicaStatus, TidegateError, UnreadableError, decode, replace, subjects
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.audit_status import AuditStatus, find_audit_problems, read_audit_status
from tidegate.services.fleet.certificates import trust_only
from tidegate.services.fleet.endpoints import FleetNotRunningError, GatewayFile, decode_state, read_endpoints
from tidegate.services.fleet.faults import read_faults
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.planner_status import PlannerStatus, read_planner
from tidegate.services.fleet.readers import read_readers
from tidegate.services.fleet.replica_status import find_replica_problems, find_replica_status
from tidegate.services.fleet.stage_lag import StageLag, read_lag
from tidegate.services.fleet.stream_fills import find_fill_problems
from tidegate.services.knowledge.index.database import read_head_of
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS
from tidegate.services.policies.files import list_policies
from tidegate.services.policies.language import load_policies
from tidegate.services.settings import Settings

TIMEOUT_S = 2.0


class ServerStatus(msgspec.Struct, kw_only=True):
    """A domain's nats-server; `pid` is 0 where another machine or container keeps it."""

    url: str
    pid: int = 0
    is_up: bool = False
    version: str = ""


class GatewayStatus(msgspec.Struct, kw_only=True):
    """A site's HTTP server; `is_ready` when the site answers questions."""

    url: str
    is_up: bool = False
    is_ready: bool = False


class LinkStatus(msgspec.Struct, kw_only=True):
    """From a site's server to the hub's worker and back; `cloud_queue` is how many requests the hub works on."""

    is_up: bool = False
    rtt_ms: float = 0.0
    cloud_queue: int = 0


class ProcessStatus(msgspec.Struct, kw_only=True):
    """A worker that wrote a ready file; `is_stale` when it is gone and could not remove it."""

    name: str
    pid: int
    stages: tuple[str, ...]
    metrics_url: str = ""
    is_stale: bool = False


class DomainStatus(msgspec.Struct, kw_only=True):
    """A site, or the hub. `indexes` has the version of each tenant's index, `embedder` that of its model, `readers`
    those of the tenants' own readers that are in use; `planner` is what a site has learned, `replica` what its sync
    worker says of its collections and policies, `audit` what its audit worker says of its log: None where none runs.
    """

    name: str
    server: ServerStatus
    gateway: GatewayStatus | None = None
    link: LinkStatus | None = None
    processes: list[ProcessStatus] = []
    lag: list[StageLag] = []
    streams: tuple[StreamFill, ...] = ()
    indexes: dict[str, str] = {}
    embedder: str = ""
    readers: dict[str, str] = {}
    planner: PlannerStatus | None = None
    replica: ReplicaStatus | None = None
    audit: AuditStatus | None = None


class FleetStatus(msgspec.Struct, kw_only=True):
    """Everything that is up, and everything that should be and is not."""

    state_dir: str
    version: str
    pack: str
    policies: dict[str, str]
    domains: list[DomainStatus]
    problems: list[str]

    @property
    def is_healthy(self) -> bool:
        return not self.problems


class _Fleet(NamedTuple):
    """The servers and gateways that are looked at; `pid` is 0 where no process of this machine keeps them all up."""

    pid: int
    servers: dict[str, NatsSettings]
    http: dict[str, str]


async def gather_status(settings: Settings) -> FleetStatus:
    """The status of the fleet below `settings.state_dir`. Raises `FleetNotRunningError`, `StateFileDamagedError`."""
    fleet = _find_fleet(settings)
    problems: list[str] = []
    if fleet.pid and not is_alive(fleet.pid, StatePaths(settings).fleet.stat().st_mtime):
        problems.append(f"process {fleet.pid}, which kept the fleet up, is gone; start it again with `tidegate up`")
    domains = await asyncio.gather(
        *(_domain_status(replace(settings, site=name), fleet, problems) for name in fleet.servers)
    )
    return FleetStatus(
        state_dir=settings.state_dir,
        version=version("tidegate"),
        pack=StatePaths(settings).pack.resolve().name,
        policies=_read_policies(settings, problems),
        domains=list(domains),
        problems=problems,
    )


def _find_fleet(settings: Settings) -> _Fleet:
    """What is up on this machine, or else the one domain whose server the settings name."""
    try:
        endpoints = read_endpoints(settings)
    except FleetNotRunningError:
        if settings.nats == NatsSettings():
            raise
        gateway = StatePaths(settings).gateway
        http = {settings.site: decode_state(gateway, GatewayFile).url} if gateway.is_file() else {}
        return _Fleet(0, {settings.site: settings.nats}, http)
    return _Fleet(endpoints.pid, {HUB: endpoints.hub, **endpoints.sites}, endpoints.http)


async def _domain_status(settings: Settings, fleet: _Fleet, problems: list[str]) -> DomainStatus:
    name, paths = settings.site, StatePaths(settings)
    nats = fleet.servers[name]
    found = DomainStatus(name=name, server=ServerStatus(url=nats.url, pid=find_server_pid(paths.nats) or 0))
    try:
        async with asyncio.timeout(4 * TIMEOUT_S), api.connect(nats, name) as client:
            found.server.is_up = True
            known = client.connected_server_version
            found.server.version = f"{known.major}.{known.minor}.{known.patch}"
            async with JetStreamBus.open(nats, name) as bus:
                found.replica = await find_replica_status(bus)
                if name != HUB:
                    found.link = await _measure_link(bus, name)
            found.lag, found.streams = await read_lag(client, name), await api.read_fills(client)
    except (TidegateError, OSError) as error:
        problems.append(f"{name}: the NATS server at {nats.url} does not answer as it should: {error or 'too late'}")
    if name in fleet.http:
        found.gateway = await _check_gateway(fleet.http[name], paths)
    found.processes = _read_processes(settings)
    found.planner = read_planner(paths.planner) if name != HUB else None
    _read_versions(found, settings, problems)
    problems += _find_problems(found, is_served_here=bool(fleet.pid)) + find_fill_problems(name, found.streams)
    problems += find_replica_problems(name, found.replica) if found.replica else []
    found.audit = read_audit_status(paths.audit)
    problems += find_audit_problems(name, found.audit) if found.audit else []
    problems += [
        f"{name}: {fault.name} cannot be kept up: {fault.reason} ({fault.hint})" for fault in read_faults(paths.home)
    ]
    return found


async def _measure_link(bus: JetStreamBus, site: str) -> LinkStatus:
    began_s = time.perf_counter()
    try:
        reply = await bus.request(subjects.ping(site), b"", timeout_s=TIMEOUT_S)
    except UnreachableError:
        return LinkStatus()
    link = LinkStatus(is_up=True, rtt_ms=round((time.perf_counter() - began_s) * 1000, 2))
    with suppress(UnreadableError):  # an older hub sends back what it got
        link.cloud_queue = decode(reply, CloudState).queue
    return link


async def _check_gateway(url: str, paths: StatePaths) -> GatewayStatus:
    found = GatewayStatus(url=url)
    known = GatewayFile(url, 0)
    with suppress(FileNotFoundError):  # it is being started again
        known = decode_state(paths.gateway, GatewayFile)
    key = known.operator_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    verify = trust_only(known.certificate) if known.certificate else True
    async with httpx.AsyncClient(
        base_url=url, timeout=TIMEOUT_S, trust_env=False, headers=headers, verify=verify
    ) as http:
        with suppress(httpx.HTTPError):
            found.is_up = (await http.get("/healthz")).is_success
            found.is_ready = (await http.get("/readyz")).is_success
    return found


def _read_processes(settings: Settings) -> list[ProcessStatus]:
    found = []
    for ready in read_ready_processes(Path(settings.state_dir)):
        if ready.site != settings.site:
            continue
        scheme = "https" if ready.metrics_tls else "http"
        url = f"{scheme}://{ready.metrics_host}:{ready.metrics_port}/metrics" if ready.metrics_port else ""
        process = ProcessStatus(name=ready.name, pid=ready.pid, stages=ready.stages, metrics_url=url)
        with suppress(FileNotFoundError):  # it ended just now
            process.is_stale = not is_alive(ready.pid, ready_file(settings, ready.name).stat().st_mtime)
            found.append(process)
    return found


def _read_versions(found: DomainStatus, settings: Settings, problems: list[str]) -> None:
    for tenant in settings.tenants:
        try:
            head = read_head_of(StatePaths(settings).index(tenant))
        except TidegateError as error:
            problems.append(f"{found.name}: {error}")
        else:
            found.indexes[tenant], found.embedder = head.version, head.embedder
    found.readers, unused = read_readers(settings)
    problems += [f"{found.name}: {reason}" for reason in unused]


def _read_policies(settings: Settings, problems: list[str]) -> dict[str, str]:
    """Those in force at the site that the settings name, with their epochs; of a site that has its pack as a folder,
    those of that."""
    paths, found = StatePaths(settings), dict[str, str]()
    try:
        for tenant in settings.tenants:
            store = GenerationStore(paths.active(tenant))
            if record := store.current():
                pack = PackInForce.of_generation(tenant, store.path(record.number), record)
                found |= {policy.id: f"{policy.version} (epoch {policy.epoch})" for policy in pack.policies}
    except (TidegateError, OSError) as error:
        problems.append(f"{settings.site}: what is in force cannot be read: {error}")
    if found:
        return found
    try:
        policies = load_policies(list_policies(StatePaths(settings).pack.glob("policies/*")))
    except (TidegateError, OSError) as error:
        problems.append(f"the policies of the pack cannot be read: {error}")
        return {}
    return {policy.id: policy.version for policy in policies}


def _find_problems(found: DomainStatus, *, is_served_here: bool) -> list[str]:
    """What should be up and is not. Workers of other machines leave no ready file here, so they are not missed."""
    name, problems = found.name, []
    if found.gateway is not None and not found.gateway.is_ready:
        problems.append(
            f"{name}: the gateway at {found.gateway.url} is {'not ready' if found.gateway.is_up else 'down'}"
        )
    if found.link is not None and not found.link.is_up:
        problems.append(f"{name}: the hub does not answer over the link")
    served = {stage for each in found.processes if not each.is_stale for stage in each.stages}
    left = [stage for each in found.processes if each.is_stale for stage in each.stages]
    here = [stage.name for stage in (HUB_WORKERS if name == HUB else SITE_WORKERS)] if is_served_here else []
    problems += [
        f"{name}: no process runs the {stage}" for stage in dict.fromkeys([*here, *left]) if stage not in served
    ]
    return problems
