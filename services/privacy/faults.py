"""What can be wrong with a vault and with what is encrypted under its keys; next: vault.py."""

from __future__ import annotations

from tidegate.brokers.process.sqlite_errors import SYSTEM_HINT
from tidegate.schemas.errors import TidegateError


class TamperedError(TidegateError, ValueError):
    """Encrypted data cannot be decrypted: it was altered, moved to another owner, or is under another key."""

    hint = "restore it from its source; if nothing can be decrypted, the site's key was replaced"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} cannot be decrypted under this site's key for this owner")


class ErasedError(TamperedError):
    """The key of whoever it was encrypted for is gone: erased, or expired."""

    hint = "nothing can be done, and that is what erasing is for: ask again"


class VaultDamagedError(TidegateError, ValueError):
    """The vault's file is no vault, or cannot be opened."""

    hint = "restore it from its backup; without one move it away: what earlier answers hold as tokens stays tokens"


class VaultUnusableError(TidegateError):
    """The system does not let the vault be opened, read or written; the vault itself may be whole."""

    hint = SYSTEM_HINT


class VaultRolledBackError(TidegateError, ValueError):
    """The vault's file is an older one than was used last, or was changed by something that has not the site's key."""

    hint = "put the newest copy back; `tidegate privacy accept` takes the vault as it is, and says so in the audit log"
