"""Gathers all that a site holds of one asker, for them to read. Next: erasing.py, which takes it away."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from tidegate.brokers.base import StoredMessage, TopologyMissingError
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Asked, Published, decode
from tidegate.schemas.privacy import ExportedRequest, ExportedValue, PersonalExport
from tidegate.schemas.subjects import ANSWERS, ASKS
from tidegate.services.fleet.answer_archive import ARCHIVE, find_archived
from tidegate.services.fleet.asked_index import requests_of
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.fleet.erasing import is_of, sources_at
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.privacy.faults import ErasedError
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.streaming.reidentify import ValueOf, reidentify_text


async def export_asker(settings: Settings, tenant: str, asker: str) -> PersonalExport:
    """What `settings.site` holds of an asker, values put back; deletes nothing.

    Raises `FleetNotRunningError`, `UnreachableError`, `JetStreamApiError`, and as `open_vault`.
    """
    with closing(open_vault(settings)) as vault:
        async with connect(find_server(settings), settings.site) as site:
            held = await requests_of(site, vault, tenant, asker)
            values = [each for digest in held.askers for each in vault.held(tenant, digest)]
            by_token = {each.token: each.value for each in values}
            archive = StatePaths(settings).answer_archive
            reader = _Reader(site, settings.site, tenant, vault, archive, lambda token: by_token.get(token, token))
            requests = [await _request(reader, rid) for rid in held.rids]
    return PersonalExport(
        site=settings.site,
        tenant=tenant,
        asker=asker,
        at_ms=time.time_ns() // 1_000_000,
        values=tuple(
            ExportedValue(kind=each.token[1:].partition("_")[0], value=each.value, until_ms=each.expires_s * 1000)
            for each in values
        ),
        requests=tuple(sorted(requests, key=lambda request: (request.asked_at_ms, request.rid))),
    )


class _Reader(NamedTuple):
    """Where requests of one tenant are read, and what their tokens stand for."""

    client: Any
    site: str
    tenant: str
    vault: Vault
    archive: Path
    value_of: ValueOf


async def _request(reader: _Reader, rid: str) -> ExportedRequest:
    found: list[StoredMessage] = []
    for source in sources_at(reader.site, reader.tenant, rid):
        try:
            stored = await messages(reader.client, source.stream, source.filter)
        except TopologyMissingError:  # TOKENS, which a restart of the server has lost
            continue
        found += [each for each in stored if is_of(each, reader.tenant)]
    found += await asyncio.to_thread(find_archived, reader.archive, rid, reader.tenant)
    held_in = dict(Counter(stored.stream for stored in found))
    asked = next((decode(stored.data, Asked) for stored in found if stored.stream == ASKS), None)
    answer = next((decode(stored.data, Published) for stored in found if stored.stream in (ANSWERS, ARCHIVE)), None)
    exported = ExportedRequest(rid=rid, held_in=held_in, **_words_of(reader.vault, asked))
    if answer is None:
        return exported
    shown = reidentify_text(answer.text, reader.value_of, is_json=answer.format == "json")
    return replace(exported, asked_at_ms=answer.asked_at_ms, outcome=answer.outcome, answer=shown + answer.closing)


def _words_of(vault: Vault, asked: Asked | None) -> dict[str, Any]:
    """What was asked; nothing where the request is gone, or its key, so that its words are lost to everybody."""
    if asked is None:
        return {}
    try:
        clear = unseal_request(vault, asked)
    except ErasedError:
        return {"asked_at_ms": asked.asked_at_ms}
    return {
        "asked_at_ms": asked.asked_at_ms,
        "text": clear.text,
        "schema": clear.schema,
        "instructions": clear.instructions,
        "history": tuple((turn.role, turn.text) for turn in clear.history),
    }
