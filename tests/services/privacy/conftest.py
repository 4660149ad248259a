"""What the tests of a vault's file share; a module may open one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.vault_samples import KEY
from tidegate.services.privacy.vault import Vault
from tidegate.services.privacy.vault_records import VaultPaths


@pytest.fixture
def paths(tmp_path: Path) -> VaultPaths:
    keys = tmp_path / "keys"
    return VaultPaths(tmp_path / "site" / "vault.sqlite", keys / "vault.keys", keys / "vault.mark")


@pytest.fixture
def vault(paths: VaultPaths) -> Iterator[Vault]:
    opened = Vault.open(paths, KEY)
    yield opened
    opened.close()
