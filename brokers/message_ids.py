"""The ids under which messages are stored (`Nats-Msg-Id`): made by a key of the domain that stores them.

Promises that the same name gives the same id, in every process and after every crash, and that whoever has not the key
can neither make the id of a message before it is stored nor tell its name. A stream drops a message whose id it has:
who could guess the next id would keep the message out by storing another one first. Next: jetstream/bus.py."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256

ID_BYTES = 24
LEAST_KEY_BYTES = 32


class MessageIds:
    """Derives ids by HMAC-SHA256 (RFC 2104). Without a key an id is its name: for a bus that nobody else writes to."""

    def __init__(self, key: bytes = b"") -> None:
        """Raises `ValueError` for a key that is shorter than 32 bytes, and not empty."""
        if 0 < len(key) < LEAST_KEY_BYTES:
            raise ValueError(f"a key of message ids has at least {LEAST_KEY_BYTES} bytes, not {len(key)}")
        self._key = key
        self.of: Callable[[str], str] = lru_cache(maxsize=256)(self._derive) if key else _as_named
        """The id of the message with this name: 32 characters. Remembered, since what is handed over needs it twice."""

    def _derive(self, name: str) -> str:
        digest = hmac.digest(self._key, name.encode("utf-8", "surrogatepass"), sha256)
        return urlsafe_b64encode(digest[:ID_BYTES]).decode()


def _as_named(name: str) -> str:
    return name


NAMES = MessageIds()
"""Ids that are names."""
