"""Files of a vault that are of another version, damaged, or met by several at once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tests.support.vault_samples import ANN, KEY, shown
from tidegate.services.privacy.faults import TamperedError, VaultDamagedError
from tidegate.services.privacy.site_key import derive_key, frame
from tidegate.services.privacy.vault import Vault
from tidegate.services.privacy.vault_records import VaultPaths


def old_vault(path: Path) -> str:
    """A vault as the first version left it."""
    path.parent.mkdir(parents=True)
    cipher, token = AESSIV(derive_key(KEY, "vault-value", 64)), "<NAME_0123456789ab>"
    sealed = cipher.encrypt(b"Ann", [frame("kiosk"), frame(ANN), frame(token)])
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE held (tenant TEXT, asker TEXT, token TEXT, sealed BLOB NOT NULL)")
        raw.execute("INSERT INTO held VALUES ('kiosk', ?, ?, ?)", (ANN, token, sealed))
        raw.commit()
    return token


def test_a_vault_of_the_first_version_is_taken_over_once(paths: VaultPaths) -> None:
    token = old_vault(paths.rows)
    for _ in range(2):
        with closing(Vault.open(paths, KEY)) as vault:
            assert shown(vault, token) == "Ann"
    with closing(Vault.open(paths, KEY)) as vault:
        vault.erase("kiosk", ANN)
        assert shown(vault, token) == token
    with closing(sqlite3.connect(paths.rows)) as raw:
        raw.execute("PRAGMA user_version = 3")
    with pytest.raises(VaultDamagedError, match="later version"):
        Vault.open(paths, KEY)


@pytest.mark.parametrize("damaged", [b"{", b'{"kiosk": 1}', b'{"kiosk": {"1": "no salt"}}'])
def test_a_damaged_file_of_keys_is_an_error_and_a_lost_one_opens_nothing(
    vault: Vault, paths: VaultPaths, damaged: bytes
) -> None:
    token = vault.put_all("kiosk", ANN, [("NAME", "Ann")])[0]
    vault.close()
    paths.keys.write_bytes(damaged)
    with pytest.raises(VaultDamagedError, match=r"vault\.keys"):
        Vault.open(paths, KEY)
    paths.keys.unlink()
    with closing(Vault.open(paths, KEY)) as opened, pytest.raises(TamperedError):
        shown(opened, token)


def test_peers_that_meet_an_asker_at_once_agree_on_the_key(paths: VaultPaths) -> None:
    def together(work: Callable[[Vault], None]) -> None:
        vaults = [Vault.open(paths, KEY) for _ in range(4)]
        threads = [threading.Thread(target=work, args=(vault,)) for vault in vaults]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for vault in vaults:
            vault.close()

    sealed: list[bytes] = []
    together(lambda vault: sealed.append(vault.seal("kiosk", ANN, "r1", "Ann")))
    with closing(Vault.open(paths, KEY)) as vault:
        assert [vault.unseal("kiosk", ANN, "r1", each) for each in sealed] == ["Ann"] * 4
