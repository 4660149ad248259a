"""The log in CORPUS: entries in order, once, behind each other only, whoever else writes and whatever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.nats_fleet import client_of
from tests.support.sync_parts import NOTICES, NOW, Keys, text
from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_hub
from tidegate.brokers.jetstream.stored import StoredStream
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import CollectionDelta, LogPosition
from tidegate.schemas.subjects import CORPUS
from tidegate.sync.author import Author
from tidegate.sync.relay import LogConflictError
from tidegate.sync.shells import corpus_log
from tidegate.sync.shells.corpus_log import PAGE, CorpusLog
from tidegate.sync.store import ReplicaStore

pytestmark = pytest.mark.anyio


class Lab:
    """A hub's server, and as many writers of its log as are wanted."""

    def __init__(self, server: Server, stack: AsyncExitStack, path: Path) -> None:
        self.server, self._stack = server, stack
        self._store = ReplicaStore(path / "made.sqlite", "hub", "0" * 16)
        self._store.put_collection(NOTICES)
        self._author = Author(self._store, Keys("hub"))

    async def log(self, stream: type[StoredStream] = StoredStream) -> CorpusLog:
        bus = await self._stack.enter_async_context(JetStreamBus.open(self.server.nats, "hub"))
        self.stream = stream(bus, CORPUS)
        return CorpusLog(self.stream, "kiosk")

    def deltas(self, count: int, first: int = 1, epoch: int = 1) -> list[CollectionDelta]:
        """So many entries, of operations that were never written before."""
        self._author.write_all("notices", {f"d{number}": text("word") for number in range(count)}, NOW)
        with self._store.writing() as writer:
            made = writer.pending(-1, ("CORPUS",))
            writer.clear_pending(made)
        return [
            CollectionDelta(
                tenant="kiosk", collection="notices", position=LogPosition(epoch, index), operation=each.operation
            )
            for index, each in enumerate(made, first)
        ]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server("hub", tmp_path))
        async with client_of(server) as client:
            await declare_hub(client, [], [])
        yield Lab(server, stack, tmp_path)


async def all_of(log: CorpusLog) -> list[CollectionDelta]:
    found: list[CollectionDelta] = []
    while page := await log.read("notices", found[-1].position if found else LogPosition(1), 500):
        found += page
    return found


class Counting(StoredStream):
    """Counts how often the stream is read."""

    reads = 0

    async def first(self, subject: str, after: int, most: int) -> list[StoredMessage]:
        self.reads += 1
        return await super().first(subject, after, most)


async def test_entries_are_behind_each_other_and_any_of_them_is_found_in_few_steps(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_log, "PAGE", 128)
    log = await lab.log()
    made = lab.deltas(1000)
    for first in range(0, 1000, 500):
        await log.append(made[first : first + 500])
    assert await all_of(log) == made
    fresh = await lab.log(Counting)
    counted = lab.stream
    assert isinstance(counted, Counting)
    assert await fresh.deltas("notices", 1, 901, 990) == tuple(made[900:990])
    assert counted.reads <= 5  # halving 1000 until a page is left, and what is asked for
    counted.reads = 0
    assert await fresh.deltas("notices", 1, 911, 1000) == tuple(made[910:1000])
    assert counted.reads == 1
    assert await fresh.end("notices") == LogPosition(1, 1000)
    assert await fresh.end("other") is None
    assert [each.position.index for each in await fresh.of_document("notices", "d7")] == [8]


async def test_an_entry_is_stored_only_where_the_log_ends_before_it(lab: Lab) -> None:
    one, other = await lab.log(), await lab.log()
    made, theirs = lab.deltas(4), lab.deltas(1, first=3)
    await one.append(made[:2])
    with pytest.raises(LogConflictError):
        await one.append(made[3:])
    await other.append(theirs)
    with pytest.raises(LogConflictError):
        await one.append(made[2:])  # it still believes that the log ends at 2
    assert await all_of(one) == [*made[:2], *theirs]
    await one.append(lab.deltas(1, epoch=2))
    with pytest.raises(LogConflictError):
        await one.append(lab.deltas(1, first=4))  # of the epoch before


async def test_what_another_collection_stores_in_between_is_no_conflict(lab: Lab) -> None:
    log = await lab.log()
    made = lab.deltas(3)
    await log.append(made[:1])
    async with client_of(lab.server) as client:
        await client.jetstream().publish("corpus.other.notices.d", b"x")
    await log.append(made[1:])
    assert await all_of(log) == made


async def test_a_batch_that_a_killed_server_cut_is_stored_once_and_whole(lab: Lab) -> None:
    log = await lab.log()
    made = lab.deltas(900)
    await log.append(made[:100])
    sent = lab.stream._bus.publisher._pending
    appending = asyncio.create_task(log.append(made[100:]))
    while len(sent) < 400:  # noqa: ASYNC110 - it is to be cut in the middle
        await asyncio.sleep(0)
    lab.server.kill()
    assert sum(each.acked.done() for each in sent.values()) < len(made) - 100
    await lab.server.start()
    await appending
    assert await all_of(log) == made


async def test_what_can_still_be_read_is_known(lab: Lab) -> None:
    log = await lab.log()
    made = lab.deltas(PAGE + 10)
    await log.append(made)
    end = made[-1].position
    assert (await log.tail("notices", end)).first == 1
    async with client_of(lab.server) as client:
        await api.call(client, f"STREAM.PURGE.{CORPUS}", {"seq": 101})
    tail = await log.tail("notices", end)
    assert tail.first == 101
    assert tail.bytes > 100 * (PAGE - 90)
    assert await log.deltas("notices", 1, 90, 110) == ()
    await log.append(lab.deltas(1, epoch=2))
    assert (await log.tail("notices", LogPosition(2, 1))).first == 1
    async with client_of(lab.server) as client:
        await api.call(client, f"STREAM.PURGE.{CORPUS}")
    assert (await log.tail("notices", LogPosition(2, 1))).first == 2
    await (await lab.log()).append(lab.deltas(1, first=2, epoch=2))  # all was given up by age: it is written on
