"""The access keys that ask over NATS, as accounts of the servers of this machine's sites.

Promises that a server which runs here has taken up a key, or ended it, when the call returns. The accounts follow from
the register of access keys: written anew whenever that changes, and before a fleet starts. Next:
brokers/servers/applications.py, what an account is; services/access/access_keys.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.brokers.servers.applications import Application, render_accounts
from tidegate.brokers.servers.credentials import create_credential
from tidegate.brokers.servers.running import find_server_pid, reload_server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import TidegateError, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.access import TEMPORARY_MS, open_access_keys
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.files import PRIVATE, replace_file


class SeedFileExistsError(TidegateError, FileExistsError):
    """The file for a new seed is there already, and may hold one that is in use."""

    hint = "name another file; nothing was issued"


def make_seed(file: Path) -> str:
    """A new nkey, its seed in `file` (mode 0600); returns the public half. Raises `SeedFileExistsError`, `OSError`."""
    try:
        return create_credential(file).public
    except FileExistsError as error:
        raise SeedFileExistsError(f"{file} is there already") from error


def write_applications(settings: Settings) -> None:
    """Write the accounts of the access keys that are good and have an nkey. Raises `AccessRegisterError`, `OSError`."""
    keys = open_access_keys(settings)
    good = [key for key in keys.all() if key.nkey and keys.is_good(key)]
    text = render_accounts(Application(key.id, key.tenant, key.nkey) for key in good)
    path = StatePaths(settings).applications
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode(), PRIVATE)


def take_up_applications(settings: Settings) -> tuple[str, ...]:
    """Write the accounts, and have the sites' servers that run below the state directory take them up; which these are.

    Raises `ServerNotReloadedError`, and as `write_applications` does.
    """
    write_applications(settings)
    homes = sorted(path for path in Path(settings.state_dir).glob("*/nats") if path.parent.name != HUB)
    running = [home for home in homes if find_server_pid(home) is not None]
    for home in running:
        reload_server(home)
    return tuple(home.parent.name for home in running)


@contextmanager
def temporary_application(settings: Settings, note: str) -> Iterator[tuple[str, Path]]:
    """A key to ask with over HTTP and NATS, and the file with its seed; both end on leaving. Raises as
    `take_up_applications`."""
    seed_file = Path(settings.state_dir) / "keys" / f"application-{secrets.token_hex(4)}.nk"
    keys = open_access_keys(settings)
    nkey = make_seed(seed_file)
    key, text = keys.issue(settings.tenants[0], "app", TEMPORARY_MS, note=note, nkey=nkey)
    try:
        take_up_applications(settings)
        yield text, seed_file
    finally:
        keys.revoke(key.id)
        seed_file.unlink(missing_ok=True)
        take_up_applications(settings)


def replace_seed(server: NatsSettings, seed_file: Path) -> NatsSettings:
    """The same server, for whoever has this seed."""
    return replace(server, nkey_seed_file=str(seed_file))
