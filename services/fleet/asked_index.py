"""Keeps which requests are whose, for longer than the requests themselves: answers name no asker.

Next: services/gateway/composition.py, which keeps it up to date; erasing.py and personal_export.py, which ask it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from tidegate.brokers.base import TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.history import first_messages, last_message
from tidegate.brokers.settings import RetentionSettings
from tidegate.schemas import Asked, UnreadableError, decode
from tidegate.schemas.subjects import ASKS
from tidegate.services.privacy.vault import Vault

EVERY_S = 60.0
"""How often: far more often than requests expire."""
PAGE = 256
_log = structlog.get_logger()


async def note_requests(client: Any, vault: Vault) -> int:
    """Take in what was asked since the last time; how many requests.

    Raises `TopologyMissingError`, `UnreachableError`, `sqlite3.Error`.
    """
    newest = await last_message(client, ASKS, "asks.>")
    after, noted = vault.noted_up_to(ASKS), 0
    if newest is not None and newest.sequence < after:  # the stream was lost, and begins again
        after = 0
    while page := await first_messages(client, ASKS, "asks.>", after, PAGE):
        after = page[-1].sequence
        found = [row for stored in page if (row := _row_of(stored.data)) is not None]
        await asyncio.to_thread(vault.note_asked, found, ASKS, after)
        noted += len(found)
    return noted


async def keep_noting(
    client: Callable[[], Any], vault: Vault, retention: RetentionSettings, every_s: float = EVERY_S
) -> None:
    """Take in what is asked and delete what is past its time, for ever. `client` gives the connection as it is now.
    What was asked is noted for as long as answers are kept."""
    last_fault = ""
    while True:
        try:
            await note_requests(client(), vault)
            await asyncio.to_thread(vault.expire)
            if retention.answers_s:
                await asyncio.to_thread(vault.forget_asked, vault.clock() - retention.answers_s)
            last_fault = ""
        except (UnreachableError, TopologyMissingError, sqlite3.OperationalError) as error:
            # No server, no such stream, or no room on the disk: the next round begins where this one ended.
            if repr(error) != last_fault:
                _log.warning("requests_not_noted", exc_info=error)
            last_fault = repr(error)
        await asyncio.sleep(every_s)


def _row_of(data: bytes) -> tuple[str, str, str, int] | None:
    try:
        asked = decode(data, Asked)
    except UnreadableError:  # the prefilter buries it, and it is nobody's
        return None
    return (asked.tenant, asked.asker, asked.rid, asked.asked_at_ms // 1000) if asked.sealed else None


class AskersRequests(msgspec.Struct, frozen=True):
    """Which requests are an asker's, and the digests by which they are known, the newest first."""

    askers: tuple[str, ...]
    rids: tuple[str, ...]


async def requests_of(client: Any, vault: Vault, tenant: str, asker: str) -> AskersRequests:
    """The requests of an asker by name, also those of this minute. Raises as `note_requests`."""
    await note_requests(client, vault)
    return noted_requests(vault, tenant, asker)


def noted_requests(vault: Vault, tenant: str, asker: str) -> AskersRequests:
    """Those that were noted, by every digest that the asker ever had."""
    digests = vault.digests_of_asker(tenant, asker, "")
    return AskersRequests(digests, tuple(rid for digest in digests for rid in vault.requests_of(tenant, digest)))
