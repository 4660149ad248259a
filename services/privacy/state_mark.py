"""How often a vault was changed, kept outside of it: what says that the vault's own file is an older one.

Next: vault_file.py."""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tidegate.services.privacy.faults import VaultRolledBackError

_DIGITS = 20
_LONGEST = 256


class StateMark:
    """One number that only goes up, sealed under a key. It is written behind the vault, and not flushed for itself:
    after a power cut it may be behind, and never before."""

    def __init__(self, path: Path, mac_key: bytes) -> None:
        self._path = path
        self._mac_key = mac_key

    def read(self) -> int:
        """The number; 0 before the first. Raises `VaultRolledBackError` for a mark that was not made with this key."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        with _locked(descriptor, fcntl.LOCK_SH):
            return self._number_in(os.pread(descriptor, _LONGEST, 0))

    def raise_to(self, number: int) -> None:
        """Make it `number`, unless a peer was there and further. Raises `OSError`, `VaultRolledBackError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        with _locked(descriptor, fcntl.LOCK_EX):
            if self._number_in(os.pread(descriptor, _LONGEST, 0)) < number:
                os.pwrite(descriptor, self._line(number), 0)

    def forget_foreign(self) -> None:
        """Remove a mark that was not made with this key. Raises `OSError`."""
        try:
            self.read()
        except VaultRolledBackError:
            self._path.unlink()

    def _line(self, number: int) -> bytes:
        written = f"{number:0{_DIGITS}d}".encode()
        return written + b" " + hmac.digest(self._mac_key, b"mark" + written, sha256).hex().encode() + b"\n"

    def _number_in(self, line: bytes) -> int:
        if not line:
            return 0
        digits = line[:_DIGITS]
        if not digits.isdigit() or not hmac.compare_digest(line, self._line(int(digits))):
            raise VaultRolledBackError(f"{self._path} was not written with this site's key")
        return int(digits)


@contextmanager
def _locked(descriptor: int, how: int) -> Iterator[None]:
    """The file to oneself, or with other readers; closed in the end."""
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
