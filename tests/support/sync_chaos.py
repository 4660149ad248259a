"""A seeded driver of one hub and three sites over a link that drops, repeats, reorders and cuts, and a reference model.

It is the other party: it also copies, restores and wipes the directories of stores, and flips bytes in them. What it
knows of every edit (its own token, and the tokens that its author saw) is all that the model is made from."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.support.lossy_client import LossyClient
from tests.support.sync_parts import (
    NOTICES,
    NOW,
    Hub,
    MemoryBlobs,
    MemoryLog,
    Site,
    text,
)
from tidegate.schemas import (
    SignedOperation,
    TidegateError,
)
from tidegate.sync.author import AuthorFencedError
from tidegate.sync.records import DocumentDamagedError
from tidegate.sync.repair import ComparisonMovedError
from tidegate.sync.rules.counters import CounterWentBackError
from tidegate.sync.rules.merge import version_of
from tidegate.sync.rules.plan import NoSnapshotError, OriginRolledBackError

NAME = NOTICES.name
SITES = ("site1", "site2", "site3")
DOCUMENTS = tuple(f"d{number}" for number in range(12))


class Edit(msgspec.Struct, frozen=True):
    """One edit, as the driver knows it: which of the edits before it its author saw of the document."""

    document_id: str
    is_deletion: bool
    seen: frozenset[str]


class Chaos:
    """The driver; `run` plays so many rounds, `heal` mends the link and has everybody catch up."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.dice, self.boots = path, random.Random(seed), 100
        self.hub = Hub(path / "hub", MemoryLog(), MemoryBlobs())
        self.hub.store.put_collection(NOTICES)
        self.edits: dict[str, Edit] = {}
        self.written = 0
        self.tokens: dict[str, str] = {}
        """The token of each operation, by its digest: deletions have no text to carry it."""
        self.did: dict[str, int] = {}
        self.sites = {name: self._open(name) for name in SITES}
        self.backups: dict[str, set[str]] = {}

    def _open(self, name: str, incarnation: int = 1) -> Site:
        self.boots += 1
        client = LossyClient(self.hub, name, self.dice)
        site = Site(self.path / name, name, client, boot=self.boots, incarnation=incarnation)
        return site.join()

    def count(self, what: str) -> None:
        self.did[what] = self.did.get(what, 0) + 1

    async def run(self, rounds: int) -> None:
        """Play so many rounds, each of one thing that happens."""
        things: list[tuple[int, Callable[[], object]]] = [
            (40, self.edit), (12, self.edit_at_hub), (25, self.send), (25, self.follow), (3, self.snapshot),
            (4, self.restart), (2, self.backup), (2, self.restore), (1, self.wipe), (3, self.flip), (5, self.repair),
            (2, self.crash_hub), (2, self.backup_hub), (2, self.restore_hub),
        ]  # fmt: skip
        for _ in range(rounds):
            for site in self.sites.values():
                site.origin.loss = self.dice.choice((0.0, 0.1, 0.4, 1.0))  # type: ignore[attr-defined]
            [thing] = self.dice.choices([each for _, each in things], [weight for weight, _ in things])
            self.count(thing.__name__)
            result = thing()
            if result is not None:
                await result  # type: ignore[misc]

    # What happens

    def edit(self) -> None:
        site = self.dice.choice(list(self.sites.values()))
        self._edit(site)

    def edit_at_hub(self) -> None:
        self._edit(self.hub)

    async def send(self) -> None:
        site = self.dice.choice(list(self.sites.values()))
        if self.dice.random() < site.origin.loss:  # type: ignore[attr-defined]
            return
        if await self._send(site) == "fenced":
            await self._readmit(site)

    async def follow(self) -> None:
        await self._follow(self.dice.choice(list(self.sites.values())))

    async def snapshot(self) -> None:
        await self.hub.snapshot(chunk_bytes=self.dice.choice((256, 1024, 65_536)))

    def restart(self) -> None:
        name = self.dice.choice(SITES)
        self.sites[name].store.close()
        self.sites[name] = self._open(name)

    def backup(self) -> None:
        name = self.dice.choice(SITES)
        self.sites[name].store.close()
        target = self.path / f"backup-{name}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.path / name, target)
        self.sites[name] = self._open(name)

    def restore(self) -> None:
        name = self.dice.choice(SITES)
        if not (self.path / f"backup-{name}").exists():
            return
        self._replace_disk(name, lambda path: shutil.copytree(self.path / f"backup-{name}", path))
        self.sites[name] = self._open(name)

    async def wipe(self) -> None:
        name = self.dice.choice(SITES)
        self._replace_disk(name, lambda _: None)
        shutil.rmtree(self.path / f"backup-{name}", ignore_errors=True)  # the backup of another incarnation
        self.sites[name] = self._open(name, self.hub.relay.grant_incarnation(name))

    def flip(self) -> None:
        site = self.dice.choice(list(self.sites.values()))
        with sqlite3.connect(site.path / "sync.db") as disk:
            rows = disk.execute("SELECT document_id, content FROM documents ORDER BY document_id").fetchall()
            with site.store.reading() as reader:
                pending = reader.pending_documents(NAME)
            rows = [row for row in rows if row[0] not in pending]
            if rows:
                document_id, content = self.dice.choice(rows)
                where = self.dice.randrange(len(content))
                flipped = content[:where] + bytes([content[where] ^ 1 << self.dice.randrange(8)]) + content[where + 1 :]
                disk.execute("UPDATE documents SET content = ? WHERE document_id = ?", (flipped, document_id))
        disk.close()

    async def repair(self) -> None:
        site = self.dice.choice(list(self.sites.values()))
        await self._follow(site)
        await self._repair(site)

    async def crash_hub(self) -> None:
        """The hub dies while it appends; another one opens the same directory, log and blobs."""
        self.hub.log.crash_after = self.dice.randrange(3)
        for site in self.sites.values():
            try:
                await self._send(site)
            except ConnectionError:
                break
        self.hub.log.crash_after = None
        self.hub.store.close()
        await self._open_hub()

    async def backup_hub(self) -> None:
        self.hub.store.close()
        shutil.rmtree(self.path / "backup-hub", ignore_errors=True)
        shutil.copytree(self.path / "hub", self.path / "backup-hub")
        await self._open_hub()

    async def restore_hub(self) -> None:
        """The hub's own disk is an old copy; its log is on another one."""
        if not (self.path / "backup-hub").exists():
            return
        self._replace_disk("hub", lambda path: shutil.copytree(self.path / "backup-hub", path))
        await self._open_hub()

    # How it happens

    async def _open_hub(self) -> None:
        self.boots += 1
        self.hub = Hub(self.path / "hub", self.hub.log, self.hub.blobs, self.boots)
        for site in self.sites.values():
            site.origin.hub = self.hub
        await self.hub.relay.recover()
        with self.hub.store.reading() as reader:
            own = reader.own()
        if own.is_fenced:
            self.count("hub readmitted")
            shutil.rmtree(self.path / "backup-hub", ignore_errors=True)
            await self._readmit(self.hub)

    def _edit(self, where: Site | Hub) -> None:
        document_id = self.dice.choice(DOCUMENTS)
        self.written += 1
        token = f"t{self.written}"
        try:
            with where.store.reading() as reader:
                siblings = reader.held(NAME, document_id).siblings
            seen = frozenset(self.tokens[version.digest] for version in siblings.versions)
            if self.dice.random() < 0.25:
                version = where.author.delete(NAME, document_id, NOW + self.written)
            else:
                version = where.author.write(NAME, document_id, text(token, token), NOW + self.written)
        except (DocumentDamagedError, AuthorFencedError, CounterWentBackError):
            return
        if version is not None:
            self.tokens[version.digest] = token
            self.edits[token] = Edit(document_id, version.operation.content is None, seen)

    async def _send(self, site: Site) -> str:
        is_receipt_lost = self.dice.random() < site.origin.loss  # type: ignore[attr-defined]
        return await site.send(self.hub, NOW + self.written, is_receipt_lost=is_receipt_lost)

    async def _readmit(self, site: Site | Hub) -> None:
        self.count("readmitted")
        with site.store.reading() as reader:
            own, entries = reader.own(), reader.pending(-1)
        before = [version_of(each.operation) for each in entries]
        incarnation = self.hub.relay.grant_incarnation(own.domain)
        again = site.author.readmit(incarnation, self.hub.relay.mark_of(own.actor), NOW)
        for old, new in zip(before[len(before) - len(again) :], again, strict=True):
            self.tokens[new.digest] = self.tokens[old.digest]
        if isinstance(site, Site):
            site.follower.note(NAME, "readmitted")
        shutil.rmtree(self.path / f"backup-{own.domain}", ignore_errors=True)

    async def _follow(self, site: Site) -> None:
        try:
            await self.hub.relay.take_own(NOW + self.written)
            await site.follower.follow(NAME)
        except (CounterWentBackError, OriginRolledBackError):
            self.count("fenced")
            await self._readmit(site)
        except NoSnapshotError:
            await self.hub.snapshot(chunk_bytes=512)
        except (ConnectionError, TidegateError):
            self.count("cut")

    async def _repair(self, site: Site) -> None:
        site.store.scrub(NAME)
        try:
            await self.hub.relay.take_own(NOW + self.written)
            report = await site.repairer.repair(NAME)
            for cause in report.documents:
                self.count(f"repaired {cause}")
        except (ConnectionError, ComparisonMovedError):
            self.count("not compared")

    def _replace_disk(self, name: str, with_what: Callable[[Path], object]) -> None:
        """What only this disk knew is gone, and the model forgets it too."""
        alive = self._elsewhere(name)
        (self.hub if name == "hub" else self.sites[name]).store.close()
        shutil.rmtree(self.path / name)
        with_what(self.path / name)
        if (self.path / name).exists():
            alive |= self._on_disk(self.path / name / "sync.db")
        self.edits = {token: edit for token, edit in self.edits.items() if token in alive}

    def _elsewhere(self, name: str) -> set[str]:
        logged = {
            self.tokens[version_of(delta.operation).digest]
            for delta in self.hub.log.deltas.get(NAME, [])
            if version_of(delta.operation).digest in self.tokens
        }
        others = [self.path / other / "sync.db" for other in (*SITES, "hub") if other != name]
        return logged.union(*(self._on_disk(each) for each in others))

    def _on_disk(self, path: Path) -> set[str]:
        """The tokens of a disk's outbox: nothing else is held by one disk only."""
        with sqlite3.connect(path) as disk:
            rows = disk.execute("SELECT operation FROM outbox").fetchall()
        disk.close()
        return {self.tokens[digest] for (row,) in rows if (digest := _digest(row)) in self.tokens}

    # What is expected

    async def heal(self) -> None:
        """The link holds from now on, and everybody does what it would do anyway, until nothing is left to do."""
        for site in self.sites.values():
            site.origin.loss = 0.0  # type: ignore[attr-defined]
        await self.hub.relay.take_own(NOW + self.written)
        for _ in range(3):
            for site in self.sites.values():
                for _ in range(3):
                    if await self._send(site) == "fenced":
                        await self._readmit(site)
                    await self._follow(site)
            await self.hub.snapshot()
        for site in self.sites.values():
            await self._repair(site)


def _digest(row: bytes) -> str:
    return version_of(msgspec.msgpack.decode(row, type=SignedOperation)).digest
