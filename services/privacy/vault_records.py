"""Where the vault lies, and what it tells of what it held or holds. Next: vault.py."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Erased(NamedTuple):
    """What an erasure destroyed: values, the ids of the asker's keys, newest first (none: there was none), and the
    epoch of the tenant's keys that no earlier copy of the vault opens under."""

    values: int
    key_ids: tuple[str, ...]
    epoch: int


class HeldValue(NamedTuple):
    """A value that is held for an asker; `expires_s` is Unix time."""

    token: str
    value: str
    expires_s: int


class VaultPaths(NamedTuple):
    """Where a vault lies. The file of keys and the mark are kept apart from it: a copy of the vault alone opens
    nothing, and an older copy is seen."""

    rows: Path
    keys: Path
    mark: Path

    @classmethod
    def beside(cls, path: Path) -> VaultPaths:
        """All in one directory."""
        return cls(path, path.with_suffix(".keys"), path.with_suffix(".mark"))
