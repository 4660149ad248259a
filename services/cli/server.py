"""`tidegate server`: a nats-server under systemd or in a container, kept up by its health and not by its process alone.

Next: services/fleet/server_guard.py, which judges; brokers/servers/kept_server.py."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click

from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.servers.kept_server import KeptServer
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, with_options
from tidegate.services.cli.run import run_until_stopped
from tidegate.services.fleet.applications_follower import ApplicationsFollower
from tidegate.services.fleet.faults import FOLDER
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.server_guard import PATIENCE_S, ServerGuard
from tidegate.services.fleet.service_notices import ServiceNotices


@click.group(cls=CommandGroup)
def server() -> None:
    """Run the nats-server of a site, or of the hub, where `tidegate up` does not."""


@server.command("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--site", required=True, help="The site whose server it is, or `hub`.")
@with_options()
@click.option(
    "--patience",
    "patience_s",
    default=PATIENCE_S,
    show_default=True,
    type=click.FloatRange(1.0),
    help="Seconds for which it may answer nothing, or be unable to store.",
)
def run_command(options: CommandOptions, file: Path, site: str, patience_s: float) -> int:
    """Run nats-server by the configuration FILE until SIGTERM, and start it again when it has ended, is frozen, or
    cannot store though its disk has room.

    It asks the monitoring port that FILE names, and tells systemd when the server is ready and that itself is alive.
    SIGHUP has the server read FILE again, or starts it anew where that has changed and leaves link to it: nats-server
    would let them stay with the rights that they had. It reads FILE again by itself when the accounts of access keys
    change, where the setting `applications_file` names the file that FILE includes for them. What keeps it down is
    shown by `tidegate status`.
    """
    settings = replace(options.settings(), site=site)  # a server runs before its site is provisioned
    faults, kept = StatePaths(settings).home / FOLDER, KeptServer(settings.site, file)
    follower = None
    if settings.applications_file and settings.site != HUB:  # nobody asks at the hub
        follower = ApplicationsFollower(kept, Path(settings.applications_file), faults / "applications")
    code = run_until_stopped(keep_up(kept, ServerGuard(kept, faults / "nats-server", patience_s), follower))
    return 0 if code == 128 + signal.SIGTERM else code  # or systemd takes every stop of its unit for a failure


async def keep_up(kept: KeptServer, guard: ServerGuard, follower: ApplicationsFollower | None) -> int:
    """Keep the server up until cancelled, and stop it then. Raises what its first start raises, and
    `NotifySocketError`."""
    notices = ServiceNotices.from_environment(os.environ)
    telling = asyncio.create_task(notices.keep_telling())
    try:
        await kept.start()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, kept.reload)
        notices.tell("READY=1")
        keeping = [asyncio.create_task(each.keep()) for each in (guard, follower) if each is not None]
        try:
            await asyncio.gather(*keeping, telling)
        finally:
            await end_tasks(*keeping)
    finally:
        await end_tasks(telling)
        notices.tell("STOPPING=1")
        await asyncio.to_thread(kept.stop)
    return 0
