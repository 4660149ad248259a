"""Two askers of a vault, and what one is shown of it."""

from __future__ import annotations

from tidegate.services.privacy.site_key import asker_digest
from tidegate.services.privacy.vault import Vault

KEY = bytes(range(32))
ANN = asker_digest(KEY, "kiosk", "ann", "r1")
BEN = asker_digest(KEY, "kiosk", "ben", "r2")


def shown(vault: Vault, token: str, asker: str = ANN, session: str = "") -> str:
    return vault.detokenise(token, "kiosk", asker, "answer", session)
