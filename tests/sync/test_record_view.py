"""Another process sees the states of a store's replicas as they were stored last, and writes nothing itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.sync_parts import NOTICES
from tidegate.sync.database import StoreDamagedError
from tidegate.sync.record_view import RecordView
from tidegate.sync.store import ReplicaStore


def know(store: ReplicaStore, at_ms: int) -> None:
    with store.writing() as writer:
        writer.put_record(msgspec.structs.replace(writer.record("notices"), known_at_ms=at_ms))


def test_what_the_writer_stored_counts_at_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "kiosk.sqlite"
    view = RecordView(path)
    assert view.records() == {}
    assert not path.exists()
    store = ReplicaStore(path, "site1", "a" * 16)
    assert view.records() == {}
    store.put_collection(NOTICES)
    assert view.records()["notices"].known_at_ms == 0
    for at_ms in (10, 20):
        know(store, at_ms)
        found = view.records()
        assert found["notices"] == store.record("notices")
        assert found["notices"].known_at_ms == at_ms
        assert view.records() is found, "where nothing changed nothing is read"
    store.close()
    view.close()
    assert view.records()["notices"].known_at_ms == 20


def test_a_file_that_was_put_in_its_place_is_another_store(tmp_path: Path) -> None:
    path = tmp_path / "kiosk.sqlite"
    store = ReplicaStore(path, "site1", "a" * 16)
    store.put_collection(NOTICES)
    view = RecordView(path)
    assert view.records()
    store.close()
    path.rename(tmp_path / "damaged.sqlite")
    assert view.records() == {}
    ReplicaStore(path, "site1", "b" * 16).close()
    assert view.records() == {}
    other = ReplicaStore(tmp_path / "other.sqlite", "site1", "c" * 16)
    other.put_collection(NOTICES)
    other.close()
    (tmp_path / "other.sqlite").replace(path)
    assert list(view.records()) == ["notices"], "the one that is open is not the one that is there"
    path.unlink()
    path.write_bytes(b"this is no database" * 500)
    with pytest.raises(StoreDamagedError):
        RecordView(path).records()


def test_a_store_that_another_process_has_open_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "kiosk.sqlite"
    script = (
        "import sys; from pathlib import Path; from tests.support.sync_parts import NOTICES\n"
        "from tidegate.sync.store import ReplicaStore\n"
        "store = ReplicaStore(Path(sys.argv[1]), 'site1', 'a' * 16); store.put_collection(NOTICES)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        assert list(RecordView(path).records()) == ["notices"]
        process.stdin.close()
