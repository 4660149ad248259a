"""Opens the vault of a site of this machine. Next: services/privacy/vault.py."""

from __future__ import annotations

from tidegate.services.fleet.machine_clock import open_steady_clock
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.privacy.site_key import load_site_key
from tidegate.services.privacy.vault import Vault
from tidegate.services.privacy.vault_records import VaultPaths
from tidegate.services.settings import Settings


def vault_paths(settings: Settings) -> VaultPaths:
    """Where the vault of `settings.site` lies; its keys and its mark lie with the site's key."""
    paths = StatePaths(settings)
    return VaultPaths(paths.vault, paths.vault_keys, paths.vault_mark)


def open_vault(settings: Settings, *, accept: bool = False) -> Vault:
    """The vault of `settings.site`, made with the site's key where there is none; `accept` takes one that is not as it
    was left.

    Raises `SiteKeyError`, `VaultDamagedError`, `VaultRolledBackError`, `OSError`.
    """
    paths = StatePaths(settings)
    clock = open_steady_clock(paths)
    opened = Vault.open(vault_paths(settings), load_site_key(paths.key), settings.privacy.vault_ttl_s, accept=accept)
    opened.clock = lambda: clock.now_ms() / 1000  # a step ahead would destroy every value, and every key
    return opened
