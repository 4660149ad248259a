"""Applies deltas and writes own edits in children that kill themselves before the n-th statement, for every n.

Run by test_store.py as `killed_writer.py <directory> <deltas>`; prints what it found in each file afterwards."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.sync_parts import NOTICES, NOW, RING, Keys, text
from tidegate.schemas import CollectionDelta
from tidegate.sync.author import Author
from tidegate.sync.follower import Follower
from tidegate.sync.rules.merge import version_of
from tidegate.sync.rules.merkle import build, checksum_of
from tidegate.sync.store import ReplicaStore


def work(path: Path, deltas: list[CollectionDelta], kill_at: int) -> None:
    """Apply each delta, and write an own edit behind each, until it is killed."""
    count = 0

    def trace(_: str) -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store = ReplicaStore(path, "site1", "b" * 16, trace=trace)
    author, follower = Author(store, Keys("site1")), Follower(store, None, RING)  # type: ignore[arg-type]
    for delta in deltas:
        follower.receive("notices", [delta])
        author.write("notices", f"own-{delta.position.index}", text("mine"), NOW)


def faults(path: Path, deltas: list[CollectionDelta]) -> tuple[int, list[str]]:
    """The position of the file, and what is not as its transactions left it."""
    store, found = ReplicaStore(path, "site1", "c" * 16), list[str]()
    with store.reading() as reader:
        record, held, pending = reader.record("notices"), reader.digests("notices"), reader.pending()
        own, tree = reader.own(), reader.tree("notices").digest
    index = record.replica.position.index if record.replica.position else 0
    if {each for each in held if each.startswith("d")} != {f"d{number}" for number in range(index)}:
        found.append(f"{index}: holds {sorted(held)}")
    own_edits = sorted(each for each in held if each.startswith("own"))
    if (
        len(own_edits) != own.counter
        or [version_of(each.operation).operation.document_id for each in pending] != own_edits
    ):
        found.append(f"{index}: wrote {own_edits}, counted {own.counter}, to be sent {len(pending)}")
    if own.counter not in (index, index - 1):
        found.append(f"{index}: an own edit is missing")
    if record.checksum != checksum_of(held) or tree != build(held).digest:
        found.append(f"{index}: the tree is not that of the documents")
    last = version_of(deltas[index - 1].operation).digest if index else ""
    if record.last != last:
        found.append(f"{index}: the last is not the last")
    store.close()
    return index, found


def main(directory: Path, deltas: list[CollectionDelta]) -> None:
    """One child for each statement, until one gets to its end."""
    kill_at, killed, positions, found = 0, 0, set[int](), list[str]()
    is_done = False
    while not is_done:
        kill_at += 1
        path = directory / f"killed-{kill_at}.db"
        store = ReplicaStore(path, "site1", "a" * 16)
        store.put_collection(NOTICES)
        Follower(store, None, RING).note("notices", "lease-granted")  # type: ignore[arg-type]
        store.close()
        child = os.fork()
        if child == 0:
            work(path, deltas, kill_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        is_done = status == 0
        killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        index, faulty = faults(path, deltas)
        positions.add(index)
        found += faulty
    print(json.dumps({"kills": kill_at - 1, "killed": killed, "positions": sorted(positions), "faults": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=list[CollectionDelta]))
