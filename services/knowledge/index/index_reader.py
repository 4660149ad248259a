"""Reads an index: for each question one generation of the database, the vectors and the keyword leg that fit it.

Promises that no question sees half a change, and that following another process costs what it changed. Next: hybrid.py.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import structlog

from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import IndexDatabase, IndexHead, read_head
from tidegate.services.knowledge.index.errors import IndexUnusableError, OtherModelError
from tidegate.services.knowledge.index.graph import GraphLeg, PassageGraph
from tidegate.services.knowledge.index.index_view import (
    IndexView,
    begin_graph,
    follow_exact,
    follow_graph,
)
from tidegate.services.knowledge.index.keyword import ANALYZERS, META, KeywordLeg, KeywordView
from tidegate.services.knowledge.index.storage import Storage
from tidegate.services.knowledge.index.vectors import ExactLeg
from tidegate.services.knowledge.text_embedder import Vector

_log = structlog.get_logger()


class IndexReading(msgspec.Struct, frozen=True):
    """One generation, for as long as its transaction is open."""

    connection: sqlite3.Connection
    head: IndexHead
    vectors: ExactLeg | GraphLeg
    keyword: KeywordView

    def find_near(self, vector: Vector, depth: int, beside: Sequence[int]) -> dict[int, float]:
        """The nearest passages with their cosine, best first. Those `beside`, which words have found, are looked at
        where a graph may not find all that are near."""
        if isinstance(self.vectors, ExactLeg):
            return self.vectors.search(vector, depth)
        return self.vectors.search(vector, depth, partial(records.find_vectors, self.connection), beside)


class IndexReader:
    """The readings of one index, from any number of threads. Raises `IndexDamagedError`, `OtherModelError`."""

    def __init__(self, storage: Storage, built_by: str, exact_below: int) -> None:
        self.database = IndexDatabase(storage)
        self.view = IndexView.empty()
        self._storage = storage
        self._built_by = built_by
        self._exact_below = exact_below
        self.keyword: KeywordView
        """The last commit of the keyword leg that a reading has seen."""
        self._leg: KeywordLeg | None = None
        self._following = threading.Lock()
        self._held = threading.local()
        self._loader = ThreadPoolExecutor(1, "graph-loader")
        self._loaded: tuple[str, Future[PassageGraph | None]] | None = None
        self.unreadable = ""
        """The name of a saved graph that was found to be no whole file."""

    def is_exact(self, head: IndexHead) -> bool:
        """Whether an index of this size is searched without a graph, and its keyword leg holds no removed rows."""
        return head.units < self._exact_below

    def leg(self, head: IndexHead) -> KeywordLeg:
        """The keyword leg that is in force; it is made again where its files cannot be read.

        Raises `IndexLockedError` where it must be made again while another process writes.
        """
        known = self._leg
        if known is None or known.path != self._storage.keyword(head.keyword) or not known.is_there():
            known = self._leg = self._open_leg(head)
        return known

    @contextmanager
    def reading(self) -> Iterator[IndexReading]:
        """Everything as of the last generation.

        The keyword leg is looked at first, and whether it is still the same afterwards: rows come before the generation
        that they belong to is in force and go after it, so a leg between the two holds all of either.
        """
        held: IndexReading | None = getattr(self._held, "reading", None)
        if held is not None:
            yield held
            return
        while True:
            inode, leg = self.database.inode(), self._leg
            keyword = self._refresh(leg)
            with self.database.reading() as connection:
                head = read_head(connection)
                if self.leg(head) is not leg or leg is None or keyword is None or self.database.inode() != inode:
                    continue
                vectors = self._follow(connection, head, inode)
                if vectors is not None and leg.is_current(keyword):
                    self.keyword = keyword
                    yield IndexReading(connection, head, vectors, keyword)
                    return

    @contextmanager
    def holding(self) -> Iterator[None]:
        """All readings of this thread are of one generation, and begun once, while this is open: for a few milliseconds
        of work that would begin ten of them."""
        with self.reading() as now:
            before = getattr(self._held, "reading", None)
            self._held.reading = now
            try:
                yield
            finally:
                self._held.reading = before

    def close(self) -> None:
        """Give back what is held open."""
        self._loader.shutdown()
        self.database.close()

    def _refresh(self, leg: KeywordLeg | None) -> KeywordView | None:
        """Its last commit; None where there is no leg, where it was removed, or where it cannot be read any more."""
        try:
            return leg.refresh() if leg is not None and leg.is_there() else None
        except ValueError as error:
            _log.warning("index.keyword_leg_unreadable", path=str(self._storage.path), reason=str(error))
            self._leg = None
            return None

    def _follow(self, connection: sqlite3.Connection, head: IndexHead, inode: int) -> ExactLeg | GraphLeg | None:
        """The vectors of this generation; None when another thread has gone on to a later one."""
        view = self.view
        if view.head == head and view.inode == inode and self._loaded is None:
            return view.vectors
        with self._following:
            view = self.view
            if view.inode == inode and view.head.generation > head.generation:
                return None
            if head.documents and head.built_by != self._built_by:
                raise OtherModelError(self._storage.path, "was built again by another embedding model meanwhile")
            vectors = self._next_vectors(connection, head, view if view.inode == inode else IndexView.empty())
            self.view = IndexView(head, inode, vectors)
            return vectors

    def _next_vectors(self, connection: sqlite3.Connection, head: IndexHead, view: IndexView) -> ExactLeg | GraphLeg:
        vectors = view.vectors
        if self.is_exact(head):
            is_same = isinstance(vectors, ExactLeg) and head.generation == view.head.generation
            return vectors if is_same else follow_exact(connection, vectors)
        if not isinstance(vectors, GraphLeg):
            return begin_graph(connection, head, self._load(head))
        if head.next_number > vectors.seen:
            vectors = follow_graph(connection, head, vectors)
        return self._with_newer_graph(connection, head, vectors)

    def _with_newer_graph(self, connection: sqlite3.Connection, head: IndexHead, vectors: GraphLeg) -> GraphLeg:
        """Take the graph in force once it is loaded; until then the older one and the tail behind it do as well."""
        current = vectors.graph.name if vectors.graph is not None else ""
        if head.graph in (current, self.unreadable):
            self._loaded = None
        elif self._loaded is None or self._loaded[0] != head.graph:
            self._loaded = (head.graph, self._loader.submit(self._load, head))
        elif self._loaded[1].done():
            graph = self._loaded[1].result()
            self._loaded = None
            return vectors if graph is None else begin_graph(connection, head, graph)
        return vectors

    def _load(self, head: IndexHead) -> PassageGraph | None:
        if not head.graph:
            return None
        path = self._storage.graph(head.graph)
        try:
            return PassageGraph.load(path, head.graph, head.graph_sha256)
        except (ValueError, FileNotFoundError) as error:
            self.unreadable = head.graph
            _log.warning(
                "index.graph_unreadable", path=str(path), reason=str(error), instead="all passages are scanned"
            )
            return None

    def _open_leg(self, head: IndexHead) -> KeywordLeg:
        path = self._storage.keyword(head.keyword)
        if (path / META).exists():
            try:
                return KeywordLeg(path)
            except ValueError as error:
                _log.warning("index.keyword_leg_unreadable", path=str(path), reason=str(error))
        with self._storage.lock():
            return self._make_leg(path, head)

    def _make_leg(self, path: Path, head: IndexHead) -> KeywordLeg:
        """Only who holds the lock makes one: another process may be doing so, or have put the next one in force."""
        with self.database.reading() as connection:
            now = read_head(connection)
            if now.keyword != head.keyword:
                return self._open_leg(now)
            with suppress(ValueError):
                if (path / META).exists():
                    return KeywordLeg(path)
            shutil.rmtree(path, ignore_errors=True)
            try:
                leg = KeywordLeg(path)
                if now.passages and now.analyzers == ANALYZERS:
                    leg.replace(records.list_keyword_rows(connection))
            except (ValueError, OSError) as error:
                raise IndexUnusableError(path, error) from error
            return leg
