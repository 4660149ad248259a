"""What `tidegate worker NAME --replicas N` does: several processes of one worker, kept alive, ended together.

Next: services/fleet/worker_replicas.py, supervisor.py."""

from __future__ import annotations

import os

from tidegate.schemas import replace
from tidegate.services.cli.options import CommandOptions
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.deployment import choose_gateway_port
from tidegate.services.fleet.roles import GATEWAY
from tidegate.services.fleet.supervisor import Program, Supervisor
from tidegate.services.fleet.worker_replicas import fork_server_of, program_of
from tidegate.services.settings import Settings


async def run_replicas(options: CommandOptions, settings: Settings, name: str, count: int) -> int:
    """Keep them up until cancelled. Raises `ChildFailedError` where one cannot start, `AddressUnavailableError`."""
    programs = plan_replicas(options, settings, name, count)
    echo(f"{count} processes of {name}; their logs are {', '.join(str(program.log) for program in programs)}", err=True)
    async with Supervisor(programs, grace_s=settings.grace_s + 5.0) as supervisor:
        await supervisor.watch()
    return 0


def plan_replicas(options: CommandOptions, settings: Settings, name: str, count: int) -> list[Program]:
    """The processes, each with this one's settings and a number; gateways with addresses of their own."""
    named = {"--config": options.config, "--state": options.state_dir}
    arguments = [part for option, path in named.items() if path is not None for part in (option, str(path))]
    forks = fork_server_of(settings, name, {}, arguments)
    arguments += ["--parent", str(os.getpid())]
    found = []
    for number in range(1, count + 1):
        own, env = replace(settings, replica=number), dict[str, str]()
        if name == GATEWAY:
            env = {"TIDEGATE_GATEWAY__PORT": str(choose_gateway_port(own, number - 1))}
        found.append(program_of(own, name, number, env, arguments, forks))
    return found
