"""What happened in a simulated run, in the order in which it happened. Pure; next: invariants.py, which judges it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Settlement = Literal["ack", "retry", "term"]


class StoredEvent(NamedTuple):
    """A domain has stored a message."""

    order: int
    at_s: float
    domain: str
    subject: str
    headers: Mapping[str, str]
    data: bytes


class PublishedEvent(NamedTuple):
    """A process knows that a message is stored: by itself (`is_fresh`), or before."""

    order: int
    domain: str
    subject: str
    id: str
    cause: str
    is_fresh: bool


class SettledEvent(NamedTuple):
    """A process has settled a delivery, `number` among all that were handed out."""

    order: int
    domain: str
    stage: str
    position: str
    number: int
    how: Settlement


class ShownEvent(NamedTuple):
    """A core message was sent inside a domain, or bytes went over the link (`domain` is then `link`)."""

    order: int
    domain: str
    subject: str
    data: bytes


@dataclass
class Journal:
    """Everything that the promises are checked by."""

    stored: list[StoredEvent] = field(default_factory=list)
    published: list[PublishedEvent] = field(default_factory=list)
    settled: list[SettledEvent] = field(default_factory=list)
    shown: list[ShownEvent] = field(default_factory=list)
    accepted: dict[str, float] = field(default_factory=dict)
    """By request, when its client knew that it was stored."""
    refused: dict[str, str] = field(default_factory=dict)
    """By request, why it was not taken."""
    reported: list[str] = field(default_factory=list)
    """Errors that nobody waited for, by kind and text."""
    kills: int = 0
    drains: int = 0
    _order: int = 0

    def next(self) -> int:
        """The number of the next event."""
        self._order += 1
        return self._order

    @property
    def digest(self) -> str:
        """Tells apart runs in which other things happened, or at other times. Without the bytes: those of a sealed
        request hold a nonce."""
        digest = hashlib.sha256()
        for stored in self.stored:
            digest.update(f"{stored.order} {stored.at_s:.6f} {stored.domain} {stored.subject}\n".encode())
        for settled in self.settled:
            digest.update(
                f"{settled.order} {settled.domain} {settled.stage} {settled.position} {settled.how}\n".encode()
            )
        return digest.hexdigest()[:16]
