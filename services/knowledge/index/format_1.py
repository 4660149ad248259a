"""Reads an index as it was kept before there was a database: `manifest.json`, and two files for each document.

Promises to lose nothing of it. Next: index_writer.py, which takes it over.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Chunk
from tidegate.services.knowledge.index.embedded import EmbeddedDocument
from tidegate.services.knowledge.index.errors import IndexDamagedError
from tidegate.services.knowledge.index.storage import DocumentOrigin, Tombstone
from tidegate.services.knowledge.index.vectors import DIMENSIONS

_MANIFEST = "manifest.json"
_VECTORS = "vectors"


class _Entry(msgspec.Struct):
    version: str
    origin: DocumentOrigin


class _Manifest(msgspec.Struct):
    embedder: str = ""
    analyzers: str = ""
    documents: dict[str, _Entry] = {}
    tombstones: dict[str, Tombstone] = {}


class _Text(msgspec.Struct):
    document: Document


class _TextInPieces(msgspec.Struct):
    document: Document
    chunks: tuple[Chunk, ...]


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class OldIndex:
    """An index of format 1. Raises `IndexDamagedError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        manifest = path / _MANIFEST
        try:
            self._manifest = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
        except msgspec.DecodeError as error:
            raise IndexDamagedError(manifest, f"is no manifest ({error})") from error
        self.built_by = f"{self._manifest.analyzers}-{self._manifest.embedder}"
        self.tombstones = self._manifest.tombstones
        self.origins = {name: entry.origin for name, entry in self._manifest.documents.items()}

    @staticmethod
    def is_in(path: Path) -> bool:
        """Whether there is one in this directory."""
        return (path / _MANIFEST).exists()

    def texts(self) -> Iterator[Document]:
        """The documents without pieces and vectors, whatever program made those."""
        for name in self.origins:
            yield _decode(self._file(name, "msgpack"), _Text).document

    def embedded(self) -> Iterator[EmbeddedDocument]:
        """The documents as they were indexed."""
        for name in self.origins:
            stored, path = _decode(self._file(name, "msgpack"), _TextInPieces), self._file(name, "safetensors")
            try:
                vectors = safetensors.numpy.load(path.read_bytes())[_VECTORS]
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                raise IndexDamagedError(path, f"cannot be read ({error})") from error
            if vectors.shape != (sum(len(chunk.units) for chunk in stored.chunks), DIMENSIONS):
                raise IndexDamagedError(path, f"has the shape {vectors.shape}")
            yield EmbeddedDocument(stored.document, stored.chunks, vectors.astype(np.float32))

    def remove(self) -> None:
        """Remove its files, the one that `is_in` looks for last."""
        shutil.rmtree(self._path / "documents", ignore_errors=True)
        (self._path / "graph.bin").unlink(missing_ok=True)
        (self._path / _MANIFEST).unlink()

    def _file(self, name: str, suffix: str) -> Path:
        version = self._manifest.documents[name].version
        return self._path / "documents" / f"{name}@{version}.{self.built_by}.{suffix}"


def _decode(path: Path, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise IndexDamagedError(path, f"cannot be read ({error})") from error
