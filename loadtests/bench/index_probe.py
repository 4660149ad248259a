"""One process that opens an index and asks it: what `index_entries` starts, so that its memory is the index's alone.

`python -m loadtests.bench.index_probe PATH DOCUMENTS QUESTIONS` prints one JSON object.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from loadtests.bench.index_corpus import WordVectors, make_question
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.languages.words import load_words

K = 10


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, MiB at most, and for each question its milliseconds, without and with its embedding, those that a core
    worked on it, and what was found: the document, its version, and the first character of the passage."""

    open_s: float
    rss_mib: float
    search_ms: tuple[float, ...]
    with_embedding_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    found: tuple[tuple[tuple[str, str, int], ...], ...]


def probe(path: Path, documents: int, questions: int) -> Probe:
    """Open, ask each question once."""
    embedder = WordVectors()
    load_words("en")
    started = time.perf_counter()
    index = HybridIndex.open(path, embedder)
    opened = time.perf_counter() - started
    index.search("w1 w2", embedder.embed("w1 w2"), K, "en")
    search, whole, worked, found = [], [], [], []
    for number in range(questions):
        text = make_question(number, documents)
        begun = time.perf_counter()
        vector = embedder.embed(text)
        embedded = time.perf_counter()
        worked_before = time.process_time()
        passages = index.search(text, vector, K, "en")
        worked.append((time.process_time() - worked_before) * 1e3)
        ended = time.perf_counter()
        search.append((ended - embedded) * 1e3)
        whole.append((ended - begun) * 1e3)
        found.append(tuple((each.document_id, each.document_version, each.start) for each in passages))
    index.close()
    return Probe(
        open_s=opened,
        rss_mib=_most_memory_mib(),
        search_ms=tuple(search),
        with_embedding_ms=tuple(whole),
        cpu_ms=tuple(worked),
        found=tuple(found),
    )


def _most_memory_mib() -> float:
    """The most that this program had. `ru_maxrss` counts the process, and so what had begun it too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


if __name__ == "__main__":
    print(msgspec.json.encode(probe(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))).decode())
