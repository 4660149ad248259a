"""The index at its size: what a change costs, and what is found how fast, with half of the documents replaced.

`python -m loadtests.bench.index_entries --documents N` measures at another size and prints all. A corpus is made
once and kept under `.tidegate/bench-index`. Next: index_corpus.py, which says what the texts and vectors are.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from itertools import cycle

import click
import msgspec
import uvloop

from loadtests.bench.index_corpus import PLACE, WordVectors, corpus, make_document, make_question
from loadtests.bench.index_probe import Probe
from loadtests.bench.index_scan import ExactSearch, PlainPipeline
from loadtests.bench.measure import (
    MIN_REPEATS,
    Bar,
    Entry,
    Measurement,
    Sampled,
    Target,
    interleaved,
    measure,
    quantile,
)
from tidegate.services.knowledge.index.hybrid import HybridIndex

DOCUMENTS, SMALL = 100_000, 1_000
CHANGES = 9
QUESTIONS, PEER_QUESTIONS = 100, 8


def _change_ms(index: HybridIndex, documents: int) -> tuple[float, ...]:
    """What each of a few upserts of one new version takes; made and embedded texts are part of it on either side."""
    took = []
    for _ in range(CHANGES):
        drawn = int.from_bytes(os.urandom(4))
        document = make_document(2 * (drawn % (documents // 2)), drawn)
        begun = time.perf_counter()
        index.upsert([document])
        took.append((time.perf_counter() - begun) * 1e3)
    return tuple(took)


async def delta_blocks(repeats: int, *, documents: int, small: int) -> AsyncIterator[Measurement]:
    """Milliseconds, the median of a few changes, at the one size and at the other."""
    sizes = {size: await asyncio.to_thread(corpus, size) for size in (documents, small)}
    indexes = {size: HybridIndex.open(path, WordVectors()) for size, path in sizes.items()}

    async def block(size: int) -> Sampled:
        took = await asyncio.to_thread(_change_ms, indexes[size], size)
        return Sampled(statistics.median(took), {"change": took})

    async for each in interleaved(repeats, partial(block, documents), partial(block, small)):
        yield each
    for index in indexes.values():
        await asyncio.to_thread(index.close)


async def probe_in_process(documents: int) -> Probe:
    """Open the index and ask it in a process of its own, on one thread."""
    command = ("-m", "loadtests.bench.index_probe", str(PLACE / str(documents)), str(documents), str(QUESTIONS))
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **one}
    )
    printed, _ = await process.communicate()
    return msgspec.json.decode(printed.splitlines()[-1], type=Probe)


def samples_of(probe: Probe, exact: ExactSearch) -> dict[str, tuple[float, ...]]:
    """What the bars look at."""
    pairs = list(zip(probe.found, exact.found, strict=True))
    recall = sum(len(set(found) & set(wanted)) for found, wanted in pairs) / sum(len(wanted) for _, wanted in pairs)
    dead = sum((name, version) not in exact.live for found in probe.found for name, version, _ in found)
    return {
        "search": probe.search_ms,
        "search with embedding": probe.with_embedding_ms,
        "work of a core": probe.cpu_ms,
        "recall@10": (recall,),
        "deleted found": (float(dead + (not exact.is_leg_clean)),),
        "open": (probe.open_s,),
        "memory": (probe.rss_mib,),
    }


async def retrieval_blocks(repeats: int, *, documents: int) -> AsyncIterator[Measurement]:
    """Milliseconds, p95 of one question, the index in a process of its own and the plain pipeline in this one."""
    path = await asyncio.to_thread(corpus, documents)
    exact = await asyncio.to_thread(ExactSearch, path, PLACE / f"{documents}-exact", documents, QUESTIONS)
    plain = await asyncio.to_thread(PlainPipeline, path)
    embedder, numbers = WordVectors(), cycle(range(QUESTIONS))

    async def ours() -> Sampled:
        samples = samples_of(await probe_in_process(documents), exact)
        return Sampled(quantile(samples["search"], 0.95) or 0.0, samples)

    async def peer() -> Sampled:
        took = []
        for _ in range(PEER_QUESTIONS):
            text = make_question(next(numbers), documents)
            vector = embedder.embed(text)
            begun = time.perf_counter()
            await asyncio.to_thread(plain.search, text, vector)
            took.append((time.perf_counter() - begun) * 1e3)
        return Sampled(quantile(took, 0.95) or 0.0, {"search": tuple(took)})

    async for each in interleaved(repeats, ours, peer, is_warm=True):
        yield each


def entries(documents: int = DOCUMENTS, small: int = SMALL) -> tuple[Entry, ...]:
    """The two entries at these sizes."""
    return (
        Entry(
            name="sync_delta_cost_by_size",
            unit=f"ms, one document replaced among {documents}",
            peer_name=f"the same among {small}",
            target=Target("≤", 2.0),
            blocks=partial(delta_blocks, documents=documents, small=small),
            bars=(Bar(samples="change", quantile=0.95), Bar(samples="change", quantile=0.95, of="peer")),
        ),
        Entry(
            name="retrieval_hybrid_100k",
            unit=f"ms, p95 of a question to {documents} documents",
            peer_name="numpy and rank_bm25, all in memory",
            target=Target("≤", 0.1),
            blocks=partial(retrieval_blocks, documents=documents),
            bars=(
                Bar(samples="search", quantile=0.95, target=Target("≤", 5.0)),
                Bar(samples="search", quantile=0.5),
                Bar(samples="search with embedding", quantile=0.95),
                Bar(samples="work of a core", quantile=0.95),
                Bar(samples="recall@10", quantile=0.0, target=Target("≥", 0.95), unit=""),
                Bar(samples="deleted found", quantile=1.0, target=Target("≤", 0.0), unit=""),
                Bar(samples="open", quantile=1.0, target=Target("≤", 2.0), unit="s"),
                Bar(samples="memory", quantile=1.0, target=Target("≤", 4096.0), unit="MiB"),
            ),
        ),
    )


INDEX_ENTRIES = entries()


async def _print_all(documents: int, small: int, only: str) -> None:
    for entry in entries(documents, small):
        if entry.name.startswith(only):
            measured = await measure(entry, MIN_REPEATS, lambda: None)
            click.echo(msgspec.json.format(msgspec.json.encode(measured.result), indent=1).decode())


@click.command()
@click.option("--documents", type=click.IntRange(min=1_000), default=DOCUMENTS, show_default=True)
@click.option("--small", type=click.IntRange(min=100), default=SMALL, show_default=True)
@click.option("--only", default="", help="The beginning of the name of the entry that is wanted.")
def main(documents: int, small: int, only: str) -> None:
    """Measure both entries at these sizes."""
    uvloop.run(_print_all(documents, small, only))


if __name__ == "__main__":
    main()
