"""The files of an index directory: their names, the lock of its one writer, and replacing a file in one step.

Promises that two processes never write at once, and that a file is whole or absent. Next: database.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

import msgspec

from tidegate.services.knowledge.index.errors import IndexLockedError, IndexUnusableError
from tidegate.services.knowledge.index.keyword import ANALYZERS, TERMS

DocumentOrigin = Literal["pack", "added", "replica"]
_PATIENCE_S = 1.0
"""A change waits so long for another writer: a compaction holds the lock for a few milliseconds only."""
_POLL_S = 0.01


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A deleted document. One deleted by hand is not brought back by a pack with the same version."""

    version: str
    by: DocumentOrigin


def make_mark(name: str, version: str) -> int:
    """A number of 48 bits that tells one version of one document from all others."""
    return int.from_bytes(hashlib.sha256(f"{name}@{version}".encode()).digest()[:6], "big")


class Storage:
    """The files of one index directory. No other module spells their names, but for format_1.py those of old ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "index.sqlite"
        self._held = threading.local()

    def keyword(self, number: int) -> Path:
        """The directory of a keyword leg; a compaction writes the next one, other terms have their own."""
        return self.path / f"keyword-{ANALYZERS}.{TERMS}-{number}"

    def graph(self, name: str) -> Path:
        """A saved graph, by the name that the database has for it."""
        return self.path / f"graph-{name}.bin"

    def graph_files(self, name: str) -> list[Path]:
        """The files of a saved graph, a graph without a name has none."""
        return sorted(self.path.glob(f"graph-{name}.*")) if name else []

    def remove_unnamed(self, keyword: int, graph: str) -> None:
        """Remove all legs but these. Only for the holder of `compaction_lock`, who may be writing others."""
        for folder in self.path.glob("keyword-*"):
            if folder != self.keyword(keyword):
                shutil.rmtree(folder)
        for file in self.path.glob("graph-*"):
            if file not in self.graph_files(graph):
                file.unlink()

    def size_bytes(self) -> int:
        """What the directory takes on disk."""
        total = 0
        for file in self.path.rglob("*"):
            with suppress(FileNotFoundError):
                total += file.stat().st_size if file.is_file() else 0
        return total

    @contextmanager
    def lock(self, patience_s: float = _PATIENCE_S) -> Iterator[None]:
        """Be the only writer, of all processes of this machine; the thread that is may be again. Raises
        `IndexLockedError` when there still is another one after `patience_s`, and `IndexUnusableError`."""
        if getattr(self._held, "by_this_thread", False):
            yield
            return
        with self._locked("lock", patience_s):
            self._held.by_this_thread = True
            try:
                yield
            finally:
                self._held.by_this_thread = False

    @contextmanager
    def compaction_lock(self) -> Iterator[None]:
        """Be the only one who makes legs anew. Raises `IndexLockedError` at once when there is one already."""
        with self._locked("compaction.lock", 0.0):
            yield

    @contextmanager
    def _locked(self, name: str, patience_s: float) -> Iterator[None]:
        with self._opened(name) as file:
            deadline = time.monotonic() + patience_s
            while not _is_taken(file):
                if time.monotonic() >= deadline:
                    raise IndexLockedError(f"{self.path}: another process is writing")
                time.sleep(_POLL_S)
            yield

    def _opened(self, name: str) -> IO[str]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return open(self.path / name, "w")
        except OSError as error:
            raise IndexUnusableError(self.path, error) from error


def _is_taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def replace_file(path: Path, data: bytes) -> None:
    """Replace the file in one step, on disk when this returns; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    with open(draft, "wb") as file:
        file.write(data)
    publish_file(draft, path)


def publish_file(draft: Path, path: Path) -> None:
    """Give a file that was written aside its name, on disk when this returns."""
    with open(draft, "rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
