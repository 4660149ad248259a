"""Shows on a running fleet what sync does: an edit that reaches the sites, two edits apart, a policy without a restart.

Everything goes the ways that any edit and any policy go; what was written for it is deleted at the end.
Next: filling.py; services/cli/demo.py, which prints it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Asked, Collection, DocumentConflict, Published, TidegateError, replace
from tidegate.schemas.pack import Document, version_of_document
from tidegate.schemas.subjects import HUB
from tidegate.services.evaluation.client import ask_over_nats
from tidegate.services.evaluation.sync_report import SyncDemonstration
from tidegate.services.fleet.artefacts import ArtefactTerms, PartPublisher
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.fleet.filling import FilledSites
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.packs.parts import PackPart, parts_of
from tidegate.services.settings import Settings
from tidegate.sync.shells.replica_client import ReplicaClient

WITHIN_S = 60.0
LOOK_EVERY_S = 0.05
SHARED, WRITTEN_APART = "documents", "demonstration"
NOTICE, APART = "demonstration-notice", "demonstration-list"
QUESTION = "Where is the lost umbrella of the demonstration kept?"


class NotShownError(TidegateError, TimeoutError):
    """A step of the demonstration did not happen in time."""

    hint = "`tidegate sync status` says what each domain waits for"


class Showing:
    """One demonstration; `servers` are those of the sites, so that one of them can be cut off."""

    def __init__(self, settings: Settings, servers: Mapping[str, Server], buses: Mapping[str, JetStreamBus]) -> None:
        self._hub = replace(settings, site=HUB)
        self._tenant = settings.tenants[0]
        self._servers = servers
        self._buses = buses
        self._clients = {domain: ReplicaClient(bus) for domain, bus in buses.items()}
        self._embedder = Embedder.load(StatePaths(self._hub).models)
        self._sites = [domain for domain in buses if domain != HUB]

    async def show(self, filled: FilledSites, progress: ProgressReporter) -> SyncDemonstration:
        """All steps, each when the one before is seen. Raises `NotShownError`, and what the workers refuse with."""
        progress.start("sync: a document changes at the hub", 3)
        quoted = await self._change_a_document()
        progress.step("one document is edited at two ends of a link that is down")
        versions, checksums, healed_s = await self._edit_apart()
        progress.step("a policy is pushed")
        policy, epoch, epoch_after = await self._push_a_policy(progress)
        await self._clean_up()
        return SyncDemonstration(
            began_empty=filled.began_empty,
            caught_up_s=filled.took_s,
            quoted_after_s=quoted,
            siblings=len(versions.versions),
            checksums=checksums,
            merged=f"{versions.chosen}" if versions.chosen else f"by {versions.rule}",
            healed_s=healed_s,
            policy=policy,
            epoch=epoch,
            epoch_after_s=epoch_after,
        )

    async def _change_a_document(self) -> dict[str, float]:
        number = 100 + uuid.uuid4().int % 900
        text = f"# Lost umbrella\n\nThe lost umbrella of the demonstration is kept in locker {number}.\n"
        await self._write(HUB, SHARED, NOTICE, "Lost umbrella of the demonstration", text)
        began_s = time.monotonic()

        async def quoted(site: str) -> bool:
            reply = await self._ask(site)
            return reply is not None and f"locker {number}" in reply.text

        return {site: await _until(partial(quoted, site), began_s, f"{site} quotes it") for site in self._sites}

    async def _edit_apart(self) -> tuple[DocumentConflict, dict[str, str], float]:
        rules = Collection(tenant=self._tenant, name=WRITTEN_APART, sites_write=True, merge="field-merge")
        await self._clients[HUB].put_collection(rules)
        first = self._sites[0]
        second = self._sites[-1] if len(self._sites) > 1 else HUB
        await self._write(HUB, WRITTEN_APART, APART, "Demonstration list", "Bread.\n")
        await _until(self._agree, time.monotonic(), "all hold the list")
        await self._servers[first].set_link(is_up=False)
        try:
            await self._write(first, WRITTEN_APART, APART, "Demonstration list", "Bread and butter.\n")
            await self._write(second, WRITTEN_APART, APART, "List of the demonstration", "Bread and jam.\n")
        finally:
            await self._servers[first].set_link(is_up=True)
        began_s = time.monotonic()
        healed_s = await _until(lambda: self._agree(versions=2), began_s, "all hold both versions")
        [conflict] = await self._clients[first].conflicts(self._tenant, WRITTEN_APART)
        return conflict, await self._checksums(), healed_s

    async def _push_a_policy(self, progress: ProgressReporter) -> tuple[str, int, dict[str, float]]:
        policy = next(part for part in parts_of(Path(self._hub.pack_dir)) if part.kind == "policy")
        changed = PackPart(policy.kind, policy.name, policy.data + f"\n# pushed {uuid.uuid4().hex}\n".encode())
        publisher = PartPublisher(self._clients[HUB], self._hub, self._tenant)
        for site in self._sites:  # the first question that nothing answers may wait for the hub to open its models
            await self._ask(site)
        [published] = await publisher.publish_parts([changed], ArtefactTerms(), progress)
        began_s = time.monotonic()

        async def named(site: str) -> bool:
            reply = await self._ask(site)
            named = [part.epoch for part in reply.receipt.lineage if part.kind == "policy"] if reply else []
            return published.epoch in named

        sites = self._sites
        after = {each: await _until(partial(named, each), began_s, f"{each} judges by it") for each in sites}
        return policy.name, published.epoch, after

    async def _write(self, domain: str, collection: str, name: str, title: str, text: str) -> None:
        document = Document(
            id=name, title=title, language="en", scope="shared", text=text, version=version_of_document(text)
        )
        contents = await asyncio.to_thread(lambda: dict(contents_of([document], self._embedder)))
        await self._clients[domain].write(self._tenant, collection, contents)

    async def _ask(self, site: str) -> Published | None:
        asked = Asked(tenant=self._tenant, text=QUESTION, rid=uuid.uuid4().hex, asker="demonstration", budget_ms=8000)
        reply = await ask_over_nats(asked, self._buses[site], as_json=False)
        return reply if isinstance(reply, Published) else None

    async def _checksums(self) -> dict[str, str]:
        found = {}
        for domain, client in self._clients.items():
            [status] = (await client.status(self._tenant, WRITTEN_APART)).collections or (None,)
            found[domain] = status.checksum if status else ""
        return found

    async def _agree(self, versions: int = 1) -> bool:
        checksums = await self._checksums()
        if len(set(checksums.values())) != 1 or not all(checksums.values()):
            return False
        with_conflict = await self._clients[HUB].conflicts(self._tenant, WRITTEN_APART)
        return versions == 1 or [len(each.versions) for each in with_conflict] == [versions]

    async def _clean_up(self) -> None:
        await self._clients[HUB].write(self._tenant, SHARED, {}, [NOTICE])
        await self._clients[HUB].write(self._tenant, WRITTEN_APART, {}, [APART])


async def _until(holds: Callable[[], Awaitable[bool]], began_s: float, what: str) -> float:
    """Seconds since `began_s` until it holds. Raises `NotShownError`."""
    while not await holds():
        if time.monotonic() > began_s + WITHIN_S:
            raise NotShownError(f"after {WITHIN_S:g} s it was not seen that {what}")
        await asyncio.sleep(LOOK_EVERY_S)
    return round(time.monotonic() - began_s, 2)


@asynccontextmanager
async def open_showing(settings: Settings, servers: Mapping[str, Server]) -> AsyncIterator[Showing]:
    """A demonstration on the fleet of this machine. Raises `FleetNotRunningError`, `UnreachableError`."""
    async with AsyncExitStack() as stack:
        buses: dict[str, JetStreamBus] = {}
        for domain in servers:
            nats: NatsSettings = find_server(replace(settings, site=domain))
            buses[domain] = await stack.enter_async_context(JetStreamBus.open(nats, domain))
        yield await asyncio.to_thread(Showing, settings, servers, buses)
