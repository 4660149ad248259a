"""Takes over a vault of the first version, whose values were encrypted under the site's key itself. Next: vault.py."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tidegate.services.privacy.faults import TamperedError
from tidegate.services.privacy.site_key import derive_key, frame


class OldValue(NamedTuple):
    """A value under the token that answers hold."""

    tenant: str
    asker: str
    token: str
    value: str


def read_old_values(path: Path, site_key: bytes) -> list[OldValue]:
    """The values of a vault of the first version; none where `path` is no such vault. Raises `TamperedError`."""
    if not path.is_file() or not path.stat().st_size:
        return []
    connection = sqlite3.connect(path)
    try:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(held)")]
        rows = connection.execute("SELECT * FROM held").fetchall() if len(columns) == 4 else []
    except sqlite3.DatabaseError:  # no database at all, which opening the vault says better
        rows = []
    finally:
        connection.close()
    return [_opened(AESSIV(derive_key(site_key, "vault-value", 64)), *row) for row in rows]


def _opened(cipher: AESSIV, tenant: str, asker: str, token: str, sealed: bytes) -> OldValue:
    try:
        value = cipher.decrypt(sealed, [frame(tenant), frame(asker), frame(token)])
    except InvalidTag as error:
        raise TamperedError(f"the value under {token}") from error
    return OldValue(tenant, asker, token, value.decode("utf-8", "surrogatepass"))
