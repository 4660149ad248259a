"""Measures an index that follows a store of few and of many documents, in one run: a delta, a start, a verification.

`python -m loadtests.sync.index_costs [few] [many]`, 1 000 and 100 000 by default; the graph of the large one takes
minutes. Documents are two sentences, their vectors are given. Times are of whatever disk the temporary directory is
on; ratios are what to look at."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from loadtests.bench.index_corpus import WordVectors
from loadtests.sync.parts import NOW, NoKey
from tidegate.schemas import Collection, DocumentContent
from tidegate.schemas.pack import Document, version_of_document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.replica.index_verifier import IndexVerifier
from tidegate.sync.author import Author
from tidegate.sync.store import ReplicaStore

DELTAS = 40
WRITTEN = 1_000
"""Documents of one transaction of the store while it is filled."""
EMBEDDER = WordVectors()


def make_document(number: int, edition: int) -> Document:
    """Two sentences that are of this edition of this document."""
    words = [f"w{(number * 31 + edition * 7 + at * 977) % 30_000}" for at in range(24)]
    text = f"{' '.join(words[:12]).capitalize()}. {' '.join(words[12:]).capitalize()}."
    return Document(
        id=f"d{number}", title=words[0], language="en", scope="site", text=text, version=version_of_document(text)
    )


class Filled:
    """A hub's store that holds so many documents, and an index at what it holds."""

    def __init__(self, path: Path, documents: int) -> None:
        self.path, self.documents = path, documents
        self.store = ReplicaStore(path / "store.sqlite", "hub", "a" * 16)
        self.store.put_collection(Collection(tenant="kiosk", name="documents"))
        self.author = Author(self.store, NoKey())
        contents = contents_of((make_document(number, 0) for number in range(documents)), EMBEDDER)
        for batch in batches(contents):
            self.author.write_all("documents", batch, NOW)
        self.open()

    def open(self) -> None:
        """Open the index, as a process that starts does."""
        self.index = HybridIndex.open(self.path / "index", EMBEDDER)
        self.follower = IndexFollower(self.store, self.index)

    def edit(self, edition: int) -> None:
        """Write one document anew."""
        document = make_document(edition * 7_919 % self.documents, edition)
        self.author.write_all("documents", dict(contents_of([document], EMBEDDER)), NOW)


def batches(contents: Iterator[tuple[str, DocumentContent]]) -> Iterator[dict[str, DocumentContent]]:
    """The contents, some at a time."""
    while batch := dict(islice(contents, WRITTEN)):
        yield batch


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """What a call takes: seconds by the clock, and of CPU."""
    begun, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - worked


def measure(path: Path, documents: int) -> dict[str, float]:
    """The figures of one size."""
    filled = Filled(path, documents)
    first, first_cpu = timed(lambda: filled.follower.start("documents"))
    filled.index.wait_for_compaction()
    wall, cpu = list[float](), list[float]()
    for edition in range(1, DELTAS + 1):
        filled.edit(edition)
        took, worked = timed(lambda: filled.follower.follow("documents"))
        wall.append(took)
        cpu.append(worked)
    filled.index.close()
    filled.open()
    start, _ = timed(lambda: filled.follower.start("documents"))
    report = None

    def verify() -> None:
        nonlocal report
        report = IndexVerifier(filled.follower).verify("documents", is_repairing=False)

    verified, verified_cpu = timed(verify)
    assert report is not None
    assert not report.legs, report
    filled.index.close()
    filled.store.close()
    return {
        "documents": documents,
        "all of them indexed, s": first,
        "all of them indexed, s of CPU": first_cpu,
        "a delta, median, ms": statistics.median(wall) * 1e3,
        "a delta, median, ms of CPU": statistics.median(cpu) * 1e3,
        "compared at a start, s": start,
        "verified, s": verified,
        "verified, s of CPU": verified_cpu,
        "peak memory so far, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(few: int, many: int) -> None:
    """Print the figures, and the ratios between many documents and few."""
    with tempfile.TemporaryDirectory() as directory:
        found: list[dict[str, float]] = []
        for documents in (few, many):
            path = Path(directory) / str(documents)
            path.mkdir()
            found.append(measure(path, documents))
    small, large = found
    for name in small:
        print(f"{name:<34} {small[name]:>14.3f} {large[name]:>14.3f}   x {large[name] / max(small[name], 1e-9):.2f}")


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:]]
    main(*(numbers or [1_000, 100_000]))
