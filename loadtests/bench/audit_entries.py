"""The audit log: what an entry costs to append, and how long a log of a million takes to be checked.

`python -m loadtests.bench.audit_entries --entries N` measures at another size and prints all. Entries are answers with
a receipt, of 1.6 kB each. Next: services/evidence/log.py, services/evidence/verification.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import click
import msgspec
import uvloop

from loadtests.bench.measure import MIN_REPEATS, Bar, Entry, Measurement, Sampled, Target, interleaved, measure
from tidegate.schemas import Artefact, Citation, Decision, Plan, Receipt
from tidegate.schemas.audit import AuditedAnswer
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.evidence.log_file import LOG
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.verification import Expectation, verify_log

SCRATCH = Path(".tidegate")
"""Where the product keeps its state: a temporary directory may lie in memory, where a flush costs nothing."""
APPENDED, BATCH, CHECKED = 8_192, 1_024, 50_000
MILLION = 1_000_000
RECEIPT = Receipt(
    site="site1",
    route="edge",
    plan=Plan(where="edge", may_escalate=True, k=8, model="reader", shares_ms={}, config_version="a1", reason="faq"),
    lineage=tuple(Artefact("document", f"document-{number}", "0123456789ab", 3) for number in range(9)),
    citations=tuple(
        Citation(document_id="fees", document_version="0123456789ab", start=0, end=99, quote="ab" * 32)
        for _ in range(3)
    ),
    decisions=tuple(Decision(f"safe/rule_{number}", "allow", "cited") for number in range(6)),
)


def draft(number: int) -> EntryDraft:
    """An answer, as it is logged."""
    digest = sha256(b"%d" % number).hexdigest()
    body = AuditedAnswer(
        rid=f"r{number}", outcome="answered", text_digest=digest, receipt_digest=digest, receipt=RECEIPT
    )
    source = f"ANSWERS:kiosk.r{number}.publisher.0"
    return EntryDraft(kind="answered", tenant="kiosk", source=source, at_ms=number, body=body)


def _append(directory: Path) -> Sampled:
    drafts = [draft(number) for number in range(APPENDED)]
    with AuditLog.open(directory / "audit", "site1") as log:
        begun_s, worked_s = time.perf_counter(), time.process_time()
        for begin in range(0, APPENDED, BATCH):
            log.append(drafts[begin : begin + BATCH], begin)
        return _per_entry(begun_s, worked_s)


def _write(directory: Path) -> Sampled:
    """The same entries into a file: encoded, hashed, written, flushed once a batch; no tree, no index, no reader."""
    drafts = [draft(number) for number in range(APPENDED)]
    encode = msgspec.json.Encoder().encode
    with open(directory / "bare", "wb", buffering=0) as file:
        begun_s, worked_s = time.perf_counter(), time.process_time()
        for begin in range(0, APPENDED, BATCH):
            leaves = [encode(each) for each in drafts[begin : begin + BATCH]]
            file.write(b"".join(part for leaf in leaves for part in (sha256(leaf).digest(), leaf)))
            os.fsync(file.fileno())
        return _per_entry(begun_s, worked_s)


def _per_entry(begun_s: float, worked_s: float) -> Sampled:
    """Microseconds of an entry: until it is on the disk, and of them those of a core, which nobody else delays."""
    took_us = (time.perf_counter() - begun_s) / APPENDED * 1e6
    worked_us = (time.process_time() - worked_s) / APPENDED * 1e6
    return Sampled(took_us, {"an entry": (took_us,), "of a core": (worked_us,)})


async def append_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Microseconds an entry, on the disk."""

    async def block(step: Callable[[Path], Sampled]) -> Sampled:
        with tempfile.TemporaryDirectory(prefix="bench-audit-", dir=SCRATCH) as directory:
            return await asyncio.to_thread(step, Path(directory))

    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    async for each in interleaved(repeats, partial(block, _append), partial(block, _write)):
        yield each


def _build(directory: Path, entries: int) -> None:
    with AuditLog.open(directory, "site1") as log:
        for begin in range(0, entries, BATCH):
            log.append([draft(number) for number in range(begin, min(entries, begin + BATCH))], begin)


def _verify_s(directory: Path) -> float:
    begun_s = time.perf_counter()
    with AuditReader.open(directory) as reader:
        report = verify_log(reader, Expectation(domain="site1", keys=()))
    assert report.is_good, report.faults
    return (time.perf_counter() - begun_s) / report.size * MILLION


def _scan_s(directory: Path) -> float:
    """All rows read and hashed, and nothing made of it."""
    begun_s, count = time.perf_counter(), 0
    connection = sqlite3.connect(directory / LOG)
    for (leaf,) in connection.execute("SELECT leaf FROM entries ORDER BY counter"):
        sha256(leaf).digest()
        count += 1
    connection.close()
    return (time.perf_counter() - begun_s) / count * MILLION


async def verify_blocks(repeats: int, *, entries: int) -> AsyncIterator[Measurement]:
    """Seconds a million entries."""

    async def block(step: Callable[[Path], float]) -> Sampled:
        took_s = await asyncio.to_thread(step, directory)
        return Sampled(took_s, {"a million": (took_s,)})

    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="bench-audit-", dir=SCRATCH))
    try:
        await asyncio.to_thread(_build, directory, entries)
        async for each in interleaved(repeats, partial(block, _verify_s), partial(block, _scan_s)):
            yield each
    finally:
        await asyncio.to_thread(shutil.rmtree, directory)


def entries_of(entries: int) -> tuple[Entry, ...]:
    """The lines of the bench, with a log of so many entries to be checked."""
    return (
        Entry(
            name="audit_append",
            unit=f"µs to append an entry of 1.6 kB, in batches of {BATCH}, flushed",
            peer_name="encode, hash, write and fsync alone: no tree, no index, nothing to read by",
            target=Target("≤", 6.0),
            blocks=append_blocks,
            bars=(
                Bar(samples="of a core", quantile=0.5, unit="µs", target=Target("≤", 20.0)),
                Bar(samples="an entry", quantile=0.5, unit="µs"),
            ),
        ),
        Entry(
            name="audit_verify",
            unit=f"s to check a log, for a million entries; measured with {entries}",
            peer_name="SELECT and sha256 of every row alone",
            target=Target("≤", 10.0),
            blocks=partial(verify_blocks, entries=entries),
            bars=(Bar(samples="a million", quantile=0.5, unit="s", target=Target("≤", 60.0)),),
        ),
    )


AUDIT_ENTRIES = entries_of(CHECKED)


async def _print_all(entries: int) -> None:
    for entry in entries_of(entries):
        measured = await measure(entry, MIN_REPEATS, lambda: None)
        click.echo(msgspec.json.format(msgspec.json.encode(measured.result), indent=1).decode())


@click.command()
@click.option("--entries", default=CHECKED, show_default=True, type=click.IntRange(1_000))
def main(entries: int) -> None:
    """Measure at a size and print all."""
    uvloop.run(_print_all(entries))


if __name__ == "__main__":
    main()
