"""The files of an index. Promises that a crash between two writes loses nothing: the manifest, replaced in one step, is
the truth; the rest is written before the manifest names it, and removed afterwards. Next: index_writer.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Chunk
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix

FORMAT = 1
VECTORS = "vectors"
"""The one tensor of a document's file. Not numpy's own format: Python 3.11 parses its header with `ast`, which fails
now and then where a garbage collection comes in between in a thread (cpython issue 106905)."""
DocumentOrigin = Literal["pack", "added"]


class IndexDamagedError(TidegateError):
    """A file of the index is missing or is not what was written."""

    hint = "remove the directory of the index and index the documents again"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; {self.hint}")


class IndexLockedError(TidegateError):
    """Another process is writing to the index."""

    hint = "try again when the other process has ended"


class DocumentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A live document; its passages are numbered from `first`."""

    version: str
    title: str
    language: str
    origin: DocumentOrigin
    first: int
    passages: int

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.passages)


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A deleted document. One deleted by hand is not brought back by a pack with the same version."""

    version: str
    by: DocumentOrigin


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The truth about an index. `generation` grows with every change; numbers from `next_number` on are unused."""

    format: int = FORMAT
    generation: int = 0
    embedder: str = ""
    analyzers: str = ""
    next_number: int = 0
    documents: dict[str, DocumentEntry] = {}
    tombstones: dict[str, Tombstone] = {}
    graph_sha256: str = ""
    graph_rows: int = 0

    @property
    def built_by(self) -> str:
        """What built the pieces and the vectors; the files of two builds lie side by side until one is removed."""
        return f"{self.analyzers}-{self.embedder}"

    def rows(self) -> list[tuple[int, int]]:
        """What the keyword leg must hold: the number and the mark of every live passage, sorted."""
        marked = ((entry, make_mark(name, entry.version)) for name, entry in self.documents.items())
        return sorted((number, mark) for entry, mark in marked for number in entry.numbers)

    def continues(self, previous: Manifest) -> bool:
        """Whether no number means another passage than in `before`; one that was restored from a copy may differ."""
        known = dict(previous.rows())
        return self.generation >= previous.generation and all(known.get(n, mark) == mark for n, mark in self.rows())

    def digest(self) -> str:
        """12 hex digits that are equal where the same documents were indexed by the same models."""
        documents = sorted(self.documents.items())
        about = (f"{name} {entry.version} {entry.language} {entry.title}" for name, entry in documents)
        lines = [self.embedder, self.analyzers, *about]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def make_mark(name: str, version: str) -> int:
    """A number of 48 bits that tells one version of one document from all others."""
    return int.from_bytes(hashlib.sha256(f"{name}@{version}".encode()).digest()[:6], "big")


class StoredDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document with its pieces."""

    document: Document
    chunks: tuple[Chunk, ...]


class _StoredText(msgspec.Struct, frozen=True):
    document: Document


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Storage:
    """The files of one index directory. No other module spells their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.graph = path / "graph.bin"
        self._manifest = path / "manifest.json"
        self._documents = path / "documents"

    def stamp(self) -> tuple[int, int]:
        """Changes whenever the manifest was replaced; (0, 0) when there is none. Costs one `stat`."""
        try:
            found = self._manifest.stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_ino)

    def manifest(self) -> Manifest:
        """The manifest; an empty one when there is none. Raises `IndexDamagedError`."""
        try:
            manifest = msgspec.json.decode(self._manifest.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return Manifest()
        except msgspec.DecodeError as error:
            raise IndexDamagedError(self._manifest, f"is no manifest ({error})") from error
        if manifest.format != FORMAT:
            raise IndexDamagedError(self._manifest, f"has format {manifest.format}, this program reads {FORMAT}")
        return manifest

    def put_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest in one step, on disk when this returns."""
        replace_file(self._manifest, msgspec.json.format(msgspec.json.encode(manifest), indent=1))

    def put(self, stored: StoredDocument, vectors: Matrix, built_by: str) -> None:
        """Write a document and the vectors of its units, as half floats."""
        name, version = stored.document.id, stored.document.version
        halves = safetensors.numpy.save({VECTORS: np.ascontiguousarray(vectors, dtype=np.float16)})
        replace_file(self._file(name, version, built_by, "safetensors"), halves)
        replace_file(self._file(name, version, built_by, "msgpack"), msgspec.msgpack.encode(stored))

    def get(self, name: str, version: str, built_by: str) -> StoredDocument:
        """A document as it was written. Raises `IndexDamagedError`."""
        return self._decode(self._file(name, version, built_by, "msgpack"), StoredDocument)

    def document(self, name: str, version: str, built_by: str) -> Document:
        """A document without its pieces, whatever version of this program cut them. Raises `IndexDamagedError`."""
        return self._decode(self._file(name, version, built_by, "msgpack"), _StoredText).document

    def vectors(self, name: str, version: str, built_by: str) -> Matrix:
        """The vectors of the document's units, as float32. Raises `IndexDamagedError`."""
        path = self._file(name, version, built_by, "safetensors")
        try:
            found = safetensors.numpy.load(path.read_bytes())[VECTORS]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise IndexDamagedError(path, f"cannot be read ({error})") from error
        if found.ndim != 2 or found.shape[1] != DIMENSIONS:
            raise IndexDamagedError(path, f"has the shape {found.shape}")
        matrix: Matrix = found.astype(np.float32)
        return matrix

    def remove_unnamed(self, manifest: Manifest) -> None:
        """Remove the files of documents, and of builds, that the manifest does not name."""
        kept = {
            self._file(name, entry.version, manifest.built_by, suffix).name
            for name, entry in manifest.documents.items()
            for suffix in ("safetensors", "msgpack")
        }
        for file in self._documents.glob("*"):
            if file.name not in kept:
                file.unlink(missing_ok=True)
        for folder in self.path.glob("keyword-*"):
            if folder != self.keyword(manifest.analyzers):
                shutil.rmtree(folder)

    def keyword(self, analyzers: str) -> Path:
        """The keyword leg's directory; other analyzers have another."""
        return self.path / f"keyword-{analyzers}"

    def size_bytes(self) -> int:
        """What the directory takes on disk."""
        total = 0
        for file in self.path.rglob("*"):
            with suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
        return total

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer, of all processes of this machine. Raises `IndexLockedError` when there is one already."""
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise IndexLockedError(f"{self.path}: another process is writing") from error
            yield

    def _decode(self, path: Path, kind: type[_Struct]) -> _Struct:
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError) as error:
            raise IndexDamagedError(path, f"cannot be read ({error})") from error

    def _file(self, name: str, version: str, built_by: str, suffix: str) -> Path:
        return self._documents / f"{name}@{version}.{built_by}.{suffix}"


def replace_file(path: Path, data: bytes) -> None:
    """Replace the file in one step, on disk when this returns; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    with open(draft, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
