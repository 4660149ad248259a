"""An index's files as a crash, a bad disk or an older program leaves them; and what is to be held in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np
import safetensors.numpy

from tests.support.branch_index import LETTERS
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import cut_into_chunks, render_unit
from tidegate.services.knowledge.index.database import IndexDatabase, read_head
from tidegate.services.knowledge.index.embedded import with_heading
from tidegate.services.knowledge.index.keyword import ANALYZERS, KeywordLeg
from tidegate.services.knowledge.index.records import list_marks
from tidegate.services.knowledge.index.storage import Storage


def keyword_folder(path: Path) -> Path:
    """The keyword leg that is in force."""
    with IndexDatabase(Storage(path)).reading() as connection:
        return Storage(path).keyword(read_head(connection).keyword)


def wanted_rows(path: Path) -> list[tuple[int, int]]:
    """What the keyword leg must hold."""
    with IndexDatabase(Storage(path)).reading() as connection:
        return list_marks(connection)


def assert_the_leg_holds_what_the_database_says(path: Path) -> None:
    assert KeywordLeg(keyword_folder(path)).refresh().entries() == wanted_rows(path)


def overwrite(file: Path, data: bytes) -> None:
    """Write other bytes into a file without making it shorter first: somebody may have mapped it into memory."""
    assert len(data) == file.stat().st_size
    with open(file, "r+b") as opened:
        opened.write(data)


def copy_database(path: Path, to: Path) -> None:
    """The database with the log of its last writes, which belongs to it."""
    to.mkdir(parents=True, exist_ok=True)
    for name in ("index.sqlite", "index.sqlite-wal"):
        (to / name).unlink(missing_ok=True)
        if (path / name).exists():
            shutil.copy(path / name, to / name)
    (to / "index.sqlite-shm").unlink(missing_ok=True)


def write_format_1(
    path: Path, documents: Iterable[Document], tombstones: Mapping[str, str], analyzers: str = ANALYZERS
) -> None:
    """An index as it was kept before there was a database, without the legs that can be made again."""
    (path / "documents").mkdir(parents=True)
    entries = {}
    for number, document in enumerate(documents):
        chunks = cut_into_chunks(document.text)
        lines = [
            with_heading(document.title, unit.heading, render_unit(document.text, unit))
            for chunk in chunks
            for unit in chunk.units
        ]
        vectors = np.stack([LETTERS.embed(line) for line in lines]).astype(np.float16)
        file = path / "documents" / f"{document.id}@{document.version}.{analyzers}-{LETTERS.version}"
        stored = msgspec.msgpack.encode({"document": document, "chunks": chunks})
        file.with_name(f"{file.name}.msgpack").write_bytes(stored)
        file.with_name(f"{file.name}.safetensors").write_bytes(safetensors.numpy.save({"vectors": vectors}))
        about = {"version": document.version, "title": document.title, "language": document.language}
        entries[document.id] = {**about, "origin": "pack", "first": 10 * number, "passages": len(chunks)}
    manifest = {
        "format": 1,
        "generation": 7,
        "embedder": LETTERS.version,
        "analyzers": analyzers,
        "next_number": 900,
        "documents": entries,
        "tombstones": {name: {"version": version, "by": "added"} for name, version in tombstones.items()},
    }
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
