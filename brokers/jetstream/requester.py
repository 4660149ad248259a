"""A site as an application reaches it over NATS: requests and their replies, and nothing else.

Next: ../servers/applications.py, the account that it logs in to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tidegate.brokers.jetstream.connection import Link
from tidegate.brokers.servers.applications import INBOX
from tidegate.brokers.settings import NatsSettings


class NatsRequester:
    """Sends requests over one connection that recovers by itself."""

    def __init__(self, link: Link) -> None:
        self.link = link

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: NatsSettings) -> AsyncIterator[NatsRequester]:
        """Connect. Raises `UnreachableError` after 10 seconds, `NkeySeedError`."""
        async with Link.open(settings, INBOX) as link:
            yield cls(link)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The reply. Raises `UnreachableError`, at once where nobody listens or there is no connection."""
        return bytes((await self.link.request(subject, data, timeout_s=timeout_s)).data)
