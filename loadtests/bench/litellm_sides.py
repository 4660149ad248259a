"""What the comparison with LiteLLM asks: sites of ours with their hub, LiteLLM's proxy twice, one model server.

Sites are as `tidegate up` has them, all stages and the gateway of each in one process, with real servers whose stores
are on disk; the hub's model is the server that LiteLLM has behind it. Next: litellm_gateway.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from loadtests.bench.litellm_backend import MODEL
from loadtests.bench.litellm_client import GatewaySide
from loadtests.bench.litellm_proxy import end_process, litellm_proxy
from loadtests.bench.measure import MeasurementError
from loadtests.bench.race_sites import with_environment
from loadtests.prepared import prepare_all
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.deployment import gather_endpoints, plan_programs
from tidegate.services.fleet.roles import roles_of
from tidegate.services.fleet.supervisor import Supervisor
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

SCRATCH = Path(".tidegate") / "litellm"
SITES = ("one", "two")


class GatewaySides(msgspec.Struct, frozen=True):
    """Who is asked: our sites, and LiteLLM without and with its guardrail hooks."""

    ours: GatewaySide
    plain: GatewaySide
    guarded: GatewaySide


@contextlib.asynccontextmanager
async def open_gateway_sides(pack: Pack, workers: int) -> AsyncIterator[GatewaySides]:
    """All of them at work, with `workers` processes each: ours are as many sites of one hub, a process each.

    Raises `ChildFailedError`, `ServerFailedError`, `MeasurementError`.
    """
    names = SITES[:workers]
    await prepare_all(settings_of(SCRATCH / "prepared"), SITES, pack, LineProgress())
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=SCRATCH)))
        state = folder / "state"
        await asyncio.to_thread(shutil.copytree, SCRATCH / "prepared", state)
        model_url = await stack.enter_async_context(instant_backend())
        settings = settings_of(state)
        urls = await stack.enter_async_context(open_sites(settings, names, model_url))
        key = stack.enter_context(temporary_key(settings, "bench"))
        peers = [
            await stack.enter_async_context(
                litellm_proxy(model_url, folder / f"litellm-{guarded}", workers=workers, guarded=guarded)
            )
            for guarded in (False, True)
        ]
        yield GatewaySides(GatewaySide(urls, key), *peers)


def settings_of(state: Path) -> Settings:
    """The product's own settings, on a state directory of the bench's own."""
    return Settings(state_dir=str(state), pack_dir=str(find_default_pack()))


@contextlib.asynccontextmanager
async def open_sites(settings: Settings, names: Sequence[str], model_url: str) -> AsyncIterator[tuple[str, ...]]:
    """The addresses of the sites' gateways, once every worker is ready; the hub writes with the model of that server.

    Needs what `prepare_all` makes. Raises `ChildFailedError`, `ServerFailedError`.
    """
    model = {"BACKEND": "openai", "BASE_URL": model_url, "MODEL": MODEL}
    hub = {f"TIDEGATE_CLOUD_VERIFIER__{name}": value for name, value in model.items()}
    async with open_fleet(Path(settings.state_dir), names, roles_of) as servers:
        await declare_fleet(servers, tuple(WORKERS.values()), retention=settings.retention)
        urls = {HUB: servers.hub.url, **{name: server.url for name, server in servers.sites.items()}}
        planned = plan_programs(settings, urls, per_stage=False)
        programs = [with_environment(program, {HUB: hub}) for program in planned]
        async with Supervisor(programs, grace_s=settings.grace_s + 5.0):
            yield tuple(gather_endpoints(settings, urls).http[name] for name in names)


@contextlib.asynccontextmanager
async def instant_backend() -> AsyncIterator[str]:
    """The address of the model server's API. Raises `MeasurementError` where it does not start."""
    command = (sys.executable, "-m", "loadtests.bench.litellm_backend")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise MeasurementError(f"the model server ended with {await process.wait()}")
        yield url
    finally:
        await end_process(process)
