"""Clients that try what they may not, and what the server says to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats
import nats.errors
from nats.aio.client import Client

from tidegate.brokers.servers.credentials import own_inbox
from tidegate.brokers.settings import NatsSettings

WITHIN_S = 5.0


class TurnedAwayError(nats.errors.Error):
    """The server closed the connection before it had said why."""


class Intruder:
    """A client with some credential, and what the server has refused it."""

    def __init__(self, client: Client, refused: list[str]) -> None:
        self.client = client
        self._refused = refused

    async def refusals(self, expected: int) -> list[str]:
        """What was refused since the last call, when that is as much as is expected, or five seconds have gone by."""
        await self.client.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                while len(self._refused) < expected:  # noqa: ASYNC110 - the client calls back, and tells nobody else
                    await asyncio.sleep(0.002)
        found, self._refused[:] = list(self._refused), []
        return found

    async def not_refused(self, *subjects: str) -> list[str]:
        """Those of the subjects, to all of which it publishes, that the server took."""
        for subject in subjects:
            await self.client.publish(subject, b"{}")
        refused = " ".join(await self.refusals(len(subjects))).lower()
        return [each for each in subjects if f'publish to "{each.lower()}"' not in refused]


@contextlib.asynccontextmanager
async def intruder(login: NatsSettings, prefix: str) -> AsyncIterator[Intruder]:
    """Whoever has the seed, with inboxes below `prefix`. Raises `nats.errors.Error` where nobody comes in so."""
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    try:
        client = await nats.connect(
            login.url,
            nkeys_seed=login.nkey_seed_file or None,
            inbox_prefix=own_inbox(prefix, login.nkey_seed_file),
            error_cb=note,
            allow_reconnect=False,
        )
    except ConnectionError as error:  # it refuses while the client still writes: a reset can come before its words
        raise TurnedAwayError(f"{login.url} closed the connection: {error}") from error
    try:
        yield Intruder(client, refused)
    finally:
        await client.close()
