"""The access keys of this machine's sites, and one that lives only as long as what it was made for.

Next: services/access/access_keys.py; services/gateway, which asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tidegate.services.access.access_keys import AccessKeys
from tidegate.services.fleet.machine_clock import open_expiry_time
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

TEMPORARY_MS = 7 * 86_400_000
"""How long a temporary key lasts where its process could not end it."""


def open_access_keys(settings: Settings) -> AccessKeys:
    """The keys of the machine that the settings are of. Raises `UnreadableError` where the hub's time is."""
    return AccessKeys(StatePaths(settings).access_keys, open_expiry_time(settings))


@contextmanager
def temporary_key(settings: Settings, note: str, *, asker: str = "", nkey: str = "") -> Iterator[str]:
    """A key to ask with, for the first tenant; it is revoked on leaving. Raises as `AccessKeys.issue`."""
    keys = open_access_keys(settings)
    key, text = keys.issue(settings.tenants[0], "app", TEMPORARY_MS, asker=asker, note=note, nkey=nkey)
    try:
        yield text
    finally:
        keys.revoke(key.id)
