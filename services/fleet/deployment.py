"""A hub and its sites on one machine: servers, streams, workers; started in order, kept alive, ended in reverse.

Promises that nothing of it is left running, whatever ends the caller. Next: supervisor.py, endpoints.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Container, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.servers.credentials import seed_file_of
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.author_keys import has_author_key
from tidegate.services.fleet.endpoints import Endpoints, GatewayFile, decode_state, write_endpoints
from tidegate.services.fleet.nats_users import write_applications
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.ports import keep_port, listen
from tidegate.services.fleet.roles import ALL, AUDIT, GATEWAY, SYNC, roles_of
from tidegate.services.fleet.server_violations import look_after_servers
from tidegate.services.fleet.supervisor import ChildFailedError, Program, Supervisor
from tidegate.services.fleet.worker_replicas import fork_server_of, program_of
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS, WORKERS
from tidegate.services.settings import Settings
from tidegate.sync.trust.site_records import SiteRecords

Fill = Callable[[], Coroutine[Any, Any, None]]
"""What brings the sites what they answer from, once their sync workers run."""
NO_REPLICAS: Mapping[str, int] = {}
"""One process of each worker."""


class Deployment(msgspec.Struct, frozen=True):
    """What is up: where it listens, its children, its servers."""

    endpoints: Endpoints
    supervisor: Supervisor
    servers: dict[str, Server]
    guard: asyncio.Task[None]
    """What starts a server again that has died, or does not answer, and tells what servers refuse."""

    async def watch(self) -> None:
        """Return never: what cannot be kept alive is tried again and again, and ends nothing else."""
        await asyncio.gather(self.guard, self.supervisor.watch())


def build_environment(settings: Settings, site: str, url: str) -> dict[str, str]:
    """What a worker of `site` gets beside its settings file: what the command line has changed in it, too."""
    hub = settings.cloud_verifier
    model = {"TIDEGATE_CLOUD_VERIFIER__BACKEND": hub.backend, "TIDEGATE_CLOUD_VERIFIER__MODEL": hub.model}
    return {
        "TIDEGATE_SITE": site,
        "TIDEGATE_NATS__URL": url,
        "TIDEGATE_STATE_DIR": str(Path(settings.state_dir).resolve()),
        "TIDEGATE_MODELS_DIR": str(Path(settings.models_dir).resolve()),
        "TIDEGATE_PACK_DIR": str(Path(settings.pack_dir).resolve()),
        **(model if hub.model else {}),
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def show_credential(settings: Settings, site: str, role: str) -> dict[str, str]:
    """The setting by which a worker logs in as what it is; none on a machine that has no such user."""
    seed_file = seed_file_of(Path(settings.state_dir).resolve(), site, role)
    return {"TIDEGATE_NATS__NKEY_SEED_FILE": str(seed_file)} if seed_file.exists() else {}


def choose_gateway_port(settings: Settings, number: int) -> int:
    """A port that the machine's gateway of this number, from 0 on, keeps when it is started again: the configured one
    and its successors, or a free one, of which the next run makes use again. Raises `AddressUnavailableError` where the
    configured one is taken."""
    if settings.gateway.port:
        port = settings.gateway.port + number
        listen(settings.gateway.host, port).close()
        return port
    return keep_port(settings.gateway.host, StatePaths(settings).gateway_port)


def plan_programs(
    settings: Settings, urls: dict[str, str], *, per_stage: bool, replicas: Mapping[str, int] = NO_REPLICAS
) -> list[Program]:
    """The worker processes of this machine: one per site, or one per stage and gateway, and one that syncs; the same
    code. With `replicas`, which takes `per_stage`, as many of each as that says. Those that answer at a site share the
    memory of one that forks them, but where nothing is forked."""
    found: list[Program] = []
    guard = ("--parent", str(os.getpid()))
    for site_number, (site, url) in enumerate(urls.items()):
        own = replace(settings, site=site)
        names = [stage.name for stage in (HUB_WORKERS if site == HUB else SITE_WORKERS)]
        names += [] if site == HUB else [GATEWAY]
        own_keys = [*([AUDIT] if per_stage else []), SYNC] if has_author_key(own) else []  # what needs them to sign
        is_shared = per_stage and (site != HUB or any(replicas.get(name, 1) > 1 for name in names))
        forks = fork_server_of(own, ALL, build_environment(settings, site, url)) if is_shared else None
        for name in (*(names if per_stage else [ALL]), *own_keys):
            env = {**build_environment(settings, site, url), **show_credential(settings, site, name)}
            for number in range(1, replicas.get(name, 1) + 1):
                if site != HUB and name in (ALL, GATEWAY):
                    in_turn = site_number - 1 + (number - 1) * (len(urls) - 1)
                    port = choose_gateway_port(replace(own, replica=number), in_turn)
                    env = {**env, "TIDEGATE_GATEWAY__PORT": str(port)}
                found.append(program_of(own, name, number, env, guard, forks))
    return found


@asynccontextmanager
async def deploy(
    settings: Settings,
    sites: Sequence[str],
    *,
    per_stage: bool = False,
    replicas: Mapping[str, int] = NO_REPLICAS,
    fill: Fill | None = None,
) -> AsyncIterator[Deployment]:
    """Start everything and yield when every worker is ready; on leaving, drain the workers, then stop the servers.

    The workers that sync are first; `fill` is awaited when they are ready, and when it has ended the others start: they
    need what it publishes. `replicas` says which stages, and whether the gateway, have several processes. A site
    whose workers cannot start is left out of the endpoints, and tried on. Raises what `fill` raises,
    `ChildFailedError` when a worker that syncs, one of the hub or those of all sites cannot start, `ServerFailedError`
    when a server cannot.
    """
    write_applications(settings)
    async with open_servers(settings, sites) as servers:
        await declare_fleet(servers, tuple(WORKERS.values()), retention=settings.retention)
        running = {HUB: servers.hub, **servers.sites}
        guard = asyncio.create_task(look_after_servers(running, settings))
        urls = {name: server.url for name, server in running.items()}
        try:
            children = plan_programs(settings, urls, per_stage=per_stage, replicas=replicas)
            syncing = [each for each in children if each.name.endswith(f"/{SYNC}")]
            async with Supervisor(syncing, grace_s=settings.grace_s + 5.0) as supervisor:
                if fill is not None:
                    write_endpoints(settings, list_servers(settings, urls))
                    await supervisor.do(fill())
                faults = await supervisor.start([each for each in children if each not in syncing])
                failed = find_failed_sites(faults, sites)
                known = gather_endpoints(settings, urls, failed, replicas.get(GATEWAY, 1))
                write_endpoints(settings, known)
                yield Deployment(known, supervisor, running, guard)
        finally:
            StatePaths(settings).fleet.unlink(missing_ok=True)
            await end_tasks(guard)


def open_servers(settings: Settings, sites: Sequence[str]) -> AbstractAsyncContextManager[Fleet]:
    """The servers of the hub and these sites. The hub's takes from a site what that asks for the tenants of its record,
    and for no other. Raises as `open_fleet` does, and `UnreadableError` for a record."""
    records = SiteRecords(StatePaths(replace(settings, site=HUB)).site_records)
    return open_fleet(Path(settings.state_dir), sites, roles_of, records.tenants_of_sites())


def find_failed_sites(faults: Sequence[ChildFailedError], sites: Sequence[str]) -> set[str]:
    """The sites of which a worker cannot start. Raises the fault where it is the hub's, or no site is left."""
    failed = {fault.program.name.partition("/")[0]: fault for fault in faults}
    if HUB in failed:
        raise failed[HUB]
    if faults and not set(sites) - failed.keys():
        raise faults[0]
    return set(failed)


def gather_endpoints(
    settings: Settings, urls: dict[str, str], failed: Container[str] = (), gateways: int = 1
) -> Endpoints:
    """Where everything listens, the gateways' chosen ports included, but for those of the sites that have failed."""
    known = list_servers(settings, urls)
    found = {
        site: tuple(gateway_url(replace(settings, site=site, replica=number + 1)) for number in range(gateways))
        for site in known.sites
        if site not in failed
    }
    http = {site: first for site, (first, *_) in found.items()}
    return replace(known, http=http, more_http={site: more for site, (_, *more) in found.items() if more})


def gateway_url(settings: Settings) -> str:
    """Where the gateway with this number of a site listens, which has said so."""
    return decode_state(StatePaths(settings).gateway, GatewayFile).url


def list_servers(settings: Settings, urls: dict[str, str]) -> Endpoints:
    """Where the servers listen, while no gateway does, and how the operator of this machine logs in."""
    state = Path(settings.state_dir).resolve()
    known = {name: NatsSettings(url=url, nkey_seed_file=str(seed_file_of(state, name))) for name, url in urls.items()}
    return Endpoints(pid=os.getpid(), hub=known.pop(HUB), sites=known)
