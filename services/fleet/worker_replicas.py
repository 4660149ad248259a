"""Several processes of one worker: how many of which are asked for, and what tells them apart.

They share the worker's consumers and queue groups, so that each message goes to one of them. Promises that a worker of
which there may be only one is never started twice. Next: deployment.py, supervisor.py.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tidegate.schemas import TidegateError, replace
from tidegate.services.fleet.faults import FOLDER
from tidegate.services.fleet.fork_server import ForkServer, can_fork
from tidegate.services.fleet.hub_keys import passphrase_variable
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.roles import ALL, AUDIT, GATEWAY, SYNC
from tidegate.services.fleet.supervisor import Program
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

MOST = 64
SIGNERS = (ALL, AUDIT, SYNC)
"""What reads private keys while it runs: `all` has the audit log."""
REPLICABLE = (*WORKERS, GATEWAY)
WHY_SINGLE = {
    SYNC: "it keeps the stores of its domain's documents, which have one writer",
    AUDIT: "it writes the audit log of its domain, which has one writer",
    ALL: "it holds the audit log, which has one writer; name the stages that are to have more",
}


class BadReplicasError(TidegateError, ValueError):
    """What is asked for is no number of processes, or of a worker that has none or may have one alone."""

    hint = "say which and how many, as in: drafter=2,gateway=2"


def parse_replicas(text: str) -> dict[str, int]:
    """`drafter=2,gateway=2` as a map. Raises `BadReplicasError`."""
    found: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, separator, count = map(str.strip, part.partition("="))
        if not separator or not count.isascii() or not count.isdigit():
            raise BadReplicasError(f"{part!r} names no worker and a number of processes")
        if name in found:
            raise BadReplicasError(f"{name} is named twice")
        check_replicas(name, int(count))
        found[name] = int(count)
    return found


def check_replicas(name: str, count: int) -> None:
    """Raises `BadReplicasError` where this worker cannot have as many processes."""
    if not 1 <= count <= MOST:
        raise BadReplicasError(f"{name} cannot have {count} processes", f"a worker has 1 to {MOST} of them")
    if count > 1 and name in WHY_SINGLE:
        raise BadReplicasError(f"there may be only one process of {name!r}", WHY_SINGLE[name])
    if name not in (*REPLICABLE, *WHY_SINGLE):
        close = difflib.get_close_matches(name, REPLICABLE, n=1)
        raise BadReplicasError(
            f"there is no worker {name!r}",
            f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(REPLICABLE)}",
        )


def name_of_replica(name: str, number: int) -> str:
    """How a process of a worker is called, in ready files, logs and `tidegate status`; the first as the worker."""
    return name if number == 1 else f"{name}-{number}"


def program_of(
    settings: Settings,
    name: str,
    number: int,
    env: Mapping[str, str],
    arguments: Sequence[str] = (),
    forked_by: ForkServer | None = None,
) -> Program:
    """One process of a worker of `settings.site`; `env` is what it gets beside its number."""
    paths = StatePaths(replace(settings, replica=number))
    called = name_of_replica(name, number)
    return Program(
        name=f"{settings.site}/{called}",
        argv=(*command_of(settings, name), *arguments),
        env={**env, **withheld_passphrases(name), "TIDEGATE_REPLICA": str(number)},
        log=Path(paths.logs / f"{called}.log"),
        ready=paths.ready / called,
        fault=paths.home / FOLDER / called,
        forked_by=forked_by,
    )


def command_of(settings: Settings, name: str) -> tuple[str, ...]:
    """The command that runs a worker of `settings.site`."""
    return (sys.executable, "-m", "tidegate.services.cli", "worker", name, "--site", settings.site)


def fork_server_of(
    settings: Settings, name: str, env: Mapping[str, str], arguments: Sequence[str] = ()
) -> ForkServer | None:
    """What forks the processes of a worker of `settings.site`, or of all its stages; None where nothing is forked."""
    if not can_fork():
        return None
    log = StatePaths(settings).logs / f"forks-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    own = {**env, **withheld_passphrases()}
    return ForkServer((*command_of(settings, name), *arguments, "--forks"), own, log, settings.grace_s + 5.0)


def withheld_passphrases(name: str = "") -> dict[str, str]:
    """The passphrases of this process that a worker of this name does not get: all of them where it signs nothing, and
    that of the root in any case. They are empty in its environment, which otherwise is this process's own."""
    root, others = passphrase_variable("root"), passphrase_variable("device")
    needless = (root,) if name in SIGNERS else (root, others)
    return {variable: "" for variable in needless if variable in os.environ}
