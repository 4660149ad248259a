"""One file: all of a transaction or nothing, whatever kills the process; tree and feed are those of what it holds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.document_authors import Author as UnsignedAuthor
from tests.support.document_authors import content, signed
from tests.support.paths import ROOT
from tests.support.sync_parts import NOTICES, NOW, Site, fast_directory, make_hub, make_site, text
from tidegate.sync.database import StoreClosedError, StoreDamagedError, StoreFullError
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.rules.clock import NOTHING
from tidegate.sync.rules.merge import Version, version_of
from tidegate.sync.rules.merkle import EMPTY_TREE, build, checksum_of, update
from tidegate.sync.store import OtherDomainError, ReplicaStore, reading_store

KILLED = ROOT / "tests" / "support" / "killed_writer.py"


@pytest.fixture
def store(tmp_path: Path) -> ReplicaStore:
    store = ReplicaStore(tmp_path / "sync.db", "hub", "a" * 16)
    store.put_collection(NOTICES)
    return store


def versions(count: int) -> list[Version]:
    """Edits and deletions of a few documents by two authors who see nothing of each other."""
    authors = UnsignedAuthor("site1@1"), UnsignedAuthor("site2@1")
    written: list[Version] = []
    for number in range(count):
        author, document_id = authors[number % 2], f"d{number * 7 % 5}"
        seen = [each for each in written if each.operation.document_id == document_id][-2:-1]
        context = seen[0].operation.context if seen else NOTHING
        written.append(author.write(document_id, context, content(f"x{number}") if number % 3 else None, number + 1))
    return written


MANY = versions(40)


@given(st.lists(st.sampled_from(MANY), max_size=60), st.integers(1, 30))
def test_what_is_held_is_a_function_of_the_set_of_operations(arrived: list[Version], batch: int) -> None:
    once = {version.digest: version for version in arrived}
    with fast_directory() as path:
        store = ReplicaStore(Path(path) / "first.db", "hub", "a" * 16)
        join_all(store, arrived, batch)
        other = ReplicaStore(Path(path) / "second.db", "hub", "b" * 16)
        join_all(other, [once[digest] for digest in sorted(once)], 100)
        with store.reading() as reader, other.reading() as expected:
            held = reader.digests("notices")
            assert held == expected.digests("notices")
            assert reader.tree("notices").digest == build(held).digest == expected.tree("notices").digest
            assert reader.record("notices").checksum == checksum_of(held) == expected.record("notices").checksum
        store.close()
        other.close()


def join_all(store: ReplicaStore, arrived: list[Version], batch: int) -> None:
    store.put_collection(NOTICES)
    for start in range(0, len(arrived), batch):
        with store.writing() as writer:
            for version in arrived[start : start + batch]:
                writer.join("notices", version, signed(version.operation))


def test_an_operation_that_is_known_changes_nothing_and_makes_no_generation(store: ReplicaStore) -> None:
    [version] = versions(1)
    for expected in (1, 1):
        with store.writing() as writer:
            writer.join("notices", version, signed(version.operation))
        assert store.record("notices").generation == expected


def test_an_index_follows_by_generation_and_finds_what_it_lacks(store: ReplicaStore, tmp_path: Path) -> None:
    hub = make_hub(tmp_path)
    for number in range(4):
        hub.author.write("notices", f"d{number}", text(f"x{number}"), NOW)
    first = hub.store.changes_since("notices", 0)
    assert first.is_complete
    assert first.generation == 4
    index = {each.document_id: each.digest for each in first.documents}
    hub.author.write("notices", "d1", text("new"), NOW)
    hub.author.delete("notices", "d2", NOW)
    changes = hub.store.changes_since("notices", first.generation)
    assert not changes.is_complete
    assert {each.document_id: each.resolved.content and each.resolved.content.text for each in changes.documents} == {
        "d1": "new",
        "d2": None,
    }
    assert set(hub.store.differing("notices", build(index))) == {"d1", "d2"}
    tree = build(index)
    for each in changes.documents:
        tree = update(tree, each.document_id, each.digest)
    assert hub.store.differing("notices", tree) == ()
    assert len(hub.store.differing("notices", EMPTY_TREE)) == 4
    assert hub.store.changes_since("notices", 99).is_complete, "a generation that never was"
    assert store.changes_since("notices", 0).documents == ()


def test_readers_hold_one_state_while_others_write(store: ReplicaStore) -> None:
    first, second = versions(2)
    with store.writing() as writer:
        writer.join("notices", first, signed(first.operation))

    def write() -> None:
        with store.writing() as writer:
            writer.join("notices", second, signed(second.operation))

    with store.reading() as reader:
        before = reader.digests("notices")
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert reader.digests("notices") == before
        assert reader.tree("notices").digest == build(before).digest
    with store.reading() as reader:
        assert reader.digests("notices") != before


def test_a_transaction_that_raises_leaves_nothing(store: ReplicaStore) -> None:
    [version] = versions(1)

    def fail() -> None:
        with store.writing() as writer:
            writer.join("notices", version, signed(version.operation))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.reading() as reader:
        assert reader.digests("notices") == {}
    with store.writing() as writer:
        assert writer.join("notices", version, signed(version.operation))


def test_a_full_disk_is_refused_and_the_store_goes_on(store: ReplicaStore) -> None:
    [version] = versions(1)

    def fill() -> None:
        with store.writing() as writer:
            writer._sql.execute("PRAGMA max_page_count = 1")
            writer.put_chunk("notices", "x", bytes(1_000_000))

    with pytest.raises(StoreFullError):
        fill()
    with store.writing() as writer:
        writer._sql.execute("PRAGMA max_page_count = 1000000")
        writer.join("notices", version, signed(version.operation))
    assert store.record("notices").documents == 1


def test_a_file_that_is_another_s_or_no_database_is_refused(store: ReplicaStore, tmp_path: Path) -> None:
    with pytest.raises(OtherDomainError):
        ReplicaStore(tmp_path / "sync.db", "site1", "b" * 16)
    with pytest.raises(CollectionUnknownError):
        store.record("fees")
    (tmp_path / "other.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreDamagedError):
        ReplicaStore(tmp_path / "other.db", "site1", "a" * 16)


def test_a_process_killed_at_any_statement_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A real process, killed -9 before each of the statements of its transactions, opens its file again."""
    hub = make_hub(tmp_path)
    for number in range(2):
        hub.author.write("notices", f"d{number}", text(f"x{number}"), NOW)
    asyncio.run(hub.relay.take_own(NOW))
    deltas = tmp_path / "deltas"
    deltas.write_bytes(msgspec.msgpack.encode(hub.log.deltas["notices"]))
    with fast_directory() as path:
        command = [sys.executable, str(KILLED), path, str(deltas)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] > 40
    assert found["killed"] == found["kills"]
    assert found["positions"] == [0, 1, 2], "killed before, between and after the transactions"
    assert found["faults"] == []


def test_a_site_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    hub = make_hub(tmp_path)
    site = make_site(tmp_path, "site1", hub)
    site.author.write("notices", "a", text("x"), NOW)
    before = site.checksum()
    site.store.close()
    again = Site(site.path, "site1", site.origin, boot=1)
    assert again.checksum() == before
    version = again.author.write("notices", "b", text("y"), NOW)
    assert version.operation.dot.counter == 2
    assert version.operation.boot_id == f"{1:016x}"
    assert asyncio.run(again.send(hub)) == "relayed"
    assert version_of(hub.log.deltas["notices"][1].operation) == version


def test_closing_waits_for_the_transaction_that_a_thread_is_in(tmp_path: Path) -> None:
    store = ReplicaStore(tmp_path / "sync.db", "site1", "0" * 16)
    is_begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with store.writing() as writer:
            writer.put_collection(NOTICES)
            is_begun.set()
            may_end.wait(10)

    writing, closing = threading.Thread(target=write), threading.Thread(target=store.close)
    writing.start()
    assert is_begun.wait(10)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    may_end.set()
    writing.join()
    closing.join()
    with reading_store(tmp_path / "sync.db") as reader:
        assert reader.collections() == ("notices",)


def test_whoever_comes_after_the_end_is_told_so(tmp_path: Path) -> None:
    store = ReplicaStore(tmp_path / "sync.db", "site1", "a" * 16)
    store.close()
    with pytest.raises(StoreClosedError), store.writing():
        pass
    with pytest.raises(StoreClosedError), store.reading():
        pass
