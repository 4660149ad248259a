"""Erases one asker from a site: every message about their requests, their values, and the key of both.

Promises that what a certificate says is gone was looked for again after it was erased. Next: services/privacy/vault.py,
which destroys the key; services/cli/privacy.py, which logs the certificate."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec

from tidegate.brokers.base import StoredMessage, TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.erasing import erase_messages
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Asked, TidegateError, decode, replace
from tidegate.schemas.hub_subjects import claims_of
from tidegate.schemas.privacy import ErasureCertificate
from tidegate.schemas.subjects import ASKS, CLAIMS, DEAD, HUB, TOKENS, VERDICTS, Source, dead_letter, history_of, tokens
from tidegate.services.fleet.answer_archive import ARCHIVE, erase_archived, find_archived
from tidegate.services.fleet.asked_index import AskersRequests, noted_requests, requests_of
from tidegate.services.fleet.endpoints import FleetNotRunningError, find_server, read_endpoints
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.privacy.faults import TamperedError
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.privacy.vault_records import Erased
from tidegate.services.settings import Settings


class NotErasedError(TidegateError, RuntimeError):
    """Something of the asker was still there after it was erased."""

    hint = "erase again; if it stays, look for what writes it"


async def erase_asker(settings: Settings, tenant: str, asker: str) -> ErasureCertificate:
    """Erase everything of an asker at `settings.site`, and at the hub where it is on this machine.

    Raises `FleetNotRunningError`, `UnreachableError`, `JetStreamApiError`, `NotErasedError`, `ArchiveUnreadableError`,
    and as `open_vault`.
    """
    with closing(open_vault(settings)) as vault:
        async with connect(find_server(settings), settings.site) as site:
            held = await requests_of(site, vault, tenant, asker)
            sealed = await _sealed_requests(site, tenant, held.rids)
            erased = vault.erase(tenant, *held.askers)
            deleted, left = await _erase_messages(settings, site, tenant, held.rids)
            # Behind the stream: what is on its way into the archive is read of that under the archive's own lock.
            archived = await asyncio.to_thread(erase_archived, StatePaths(settings).answer_archive, tenant, held.rids)
            deleted |= {f"{settings.site}/{ARCHIVE}": archived} if archived else {}
            await _check_gone(settings, site, tenant, held)
        if any(_opens(vault, asked) for asked in sealed):
            raise NotErasedError("a sealed request of the asker still opens")
        for asker_digest in held.askers:  # last: who is cut before begins again, and finds them
            vault.forget_requests(tenant, asker_digest)
    certificate = _certificate(settings, tenant, held, erased)
    return replace(certificate, deleted=deleted, unreadable=len(sealed), left=left)


def erase_from_vault(settings: Settings, tenant: str, asker: str) -> ErasureCertificate:
    """Destroy the values and the key of an asker where no server runs: what was sealed is unreadable from now on, and
    the messages are left to be erased when one does. Raises as `open_vault`."""
    with closing(open_vault(settings)) as vault:
        held = noted_requests(vault, tenant, asker)
        erased = vault.erase(tenant, *held.askers)
    archived = erase_archived(StatePaths(settings).answer_archive, tenant, held.rids)
    deleted = {f"{settings.site}/{ARCHIVE}": archived} if archived else {}
    return replace(_certificate(settings, tenant, held, erased), deleted=deleted, left={settings.site: 0})


async def erase_at_hub(settings: Settings, certificate: ErasureCertificate) -> dict[str, int]:
    """At the hub: erase the messages about the requests of a certificate of a site; how many, by stream.

    Raises `FleetNotRunningError`, `UnreachableError`, `JetStreamApiError`.
    """
    deleted: Counter[str] = Counter()
    async with connect(find_server(replace(settings, site=HUB)), HUB) as hub:
        for rid in certificate.requests:
            sources = sources_at(certificate.site, certificate.tenant, rid)
            deleted += await _erase_in(hub, HUB, sources, certificate.tenant)
    return dict(sorted(deleted.items()))


def _certificate(settings: Settings, tenant: str, held: AskersRequests, erased: Erased) -> ErasureCertificate:
    return ErasureCertificate(
        site=settings.site,
        tenant=tenant,
        asker=held.askers[0],
        former_askers=held.askers[1:],
        at_ms=time.time_ns() // 1_000_000,
        values=erased.values,
        key_id=erased.key_ids[0] if erased.key_ids else "",
        former_key_ids=erased.key_ids[1:],
        key_epoch=erased.epoch,
        requests=held.rids,
    )


async def _sealed_requests(site: Any, tenant: str, rids: Sequence[str]) -> list[Asked]:
    found = [stored for rid in rids for stored in await messages(site, ASKS, f"asks.{tenant}.{rid}")]
    return [decode(stored.data, Asked) for stored in found]


def _opens(vault: Vault, asked: Asked) -> bool:
    try:
        unseal_request(vault, asked)
    except TamperedError:
        return False
    return True


def sources_at(site: str, tenant: str, rid: str) -> tuple[Source, ...]:
    """Where a site, or the hub, may hold anything about a request; dead letters are of any tenant."""
    claimed = Source(CLAIMS, claims_of(site, f"{tenant}.{rid}"))
    more = (Source(TOKENS, tokens(tenant, rid)), Source(DEAD, dead_letter("*", rid)))
    return (*history_of(rid, tenant, site), claimed, *more)


def is_of(stored: StoredMessage, tenant: str) -> bool:
    """Whether a message is of the tenant; a dead letter says under which subject it died."""
    return stored.stream != DEAD or tenant in stored.headers.get("Dead-Subject", tenant).split(".")


async def _erase_messages(
    settings: Settings, site: Any, tenant: str, rids: Sequence[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """What was deleted, and what could not be.

    Escalations go here first, verdicts at the hub: each side stores again what it takes for lost over the link.
    """
    deleted: Counter[str] = Counter()
    left: dict[str, int] = {}
    for rid in rids:
        here = [source for source in sources_at(settings.site, tenant, rid) if source.stream != VERDICTS]
        deleted += await _erase_in(site, settings.site, here, tenant)
    try:
        async with connect(read_endpoints(settings).hub, HUB) as hub:
            for rid in rids:
                deleted += await _erase_in(hub, HUB, sources_at(settings.site, tenant, rid), tenant)
    except (FleetNotRunningError, UnreachableError):
        if deleted[f"{settings.site}/ESCALATIONS"]:
            kept = settings.retention
            kept_s = 0 if 0 in (kept.escalations_s, kept.verdicts_s) else max(kept.escalations_s, kept.verdicts_s)
            left[HUB] = int((time.time() + kept_s) * 1000) if kept_s else 0
    for rid in rids:
        verdicts = [source for source in sources_at(settings.site, tenant, rid) if source.stream == VERDICTS]
        deleted += await _erase_in(site, settings.site, verdicts, tenant)
    return dict(sorted(deleted.items())), left


async def _erase_in(client: Any, domain: str, sources: Sequence[Source], tenant: str) -> Counter[str]:
    erased: Counter[str] = Counter()
    for source in sources:
        try:
            count = await erase_messages(client, source.stream, source.filter, lambda stored: is_of(stored, tenant))
        except TopologyMissingError:  # the hub has neither ASKS nor PIPE nor ANSWERS
            continue
        if count:
            erased[f"{domain}/{source.stream}"] += count
    return erased


async def _check_gone(settings: Settings, site: Any, tenant: str, held: AskersRequests) -> None:
    for rid in held.rids:
        for source in sources_at(settings.site, tenant, rid):
            try:
                found = await messages(site, source.stream, source.filter)
            except TopologyMissingError:
                continue
            if any(is_of(stored, tenant) for stored in found):
                raise NotErasedError(f"{source.stream} still holds {source.filter}")
        if await asyncio.to_thread(find_archived, StatePaths(settings).answer_archive, rid, tenant):
            raise NotErasedError(f"the archive still holds {rid}")


def certificate_bytes(certificate: ErasureCertificate) -> bytes:
    """The certificate as it is handed out, and as its digest is taken."""
    return msgspec.json.encode(certificate, order="sorted")
