"""Makes the legs of a large index anew, beside it, when what came and went since has added up.

Promises that neither questions nor changes wait for it, and that it can end at any point. Next: graph.py, keyword.py.
"""

from __future__ import annotations

import secrets
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import msgspec
import structlog

from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import IndexHead, put_head, read_head
from tidegate.services.knowledge.index.errors import IndexLockedError
from tidegate.services.knowledge.index.graph import PassageGraph, Projection
from tidegate.services.knowledge.index.index_reader import IndexReader
from tidegate.services.knowledge.index.index_writer import LOGGED_GENERATIONS, IndexWriter, reconcile_rows
from tidegate.services.knowledge.index.keyword import KeywordLeg
from tidegate.services.knowledge.index.storage import Storage
from tidegate.services.knowledge.index.vectors import Matrix

MOST_DEAD_NODES = 0.3
"""Nodes of units that are gone, for each live one, above which a graph is made from nothing."""
REFIT_AT = 8
"""So does one that holds so many times the units that its axes were chosen from."""
_SAMPLE = 4_096
MOST_DEAD_ROWS = 0.2
"""Rows of passages that are gone, for each live one, above which a keyword leg is made from nothing."""
FEWEST_DEAD_ROWS = 1_000
MOST_SCATTERED_ROWS = 0.25
"""So is one of which so many rows lie in other segments than the largest: a new one has one segment, in which a search
takes three quarters of the time. It is made again when the index has grown by a third: a row is written four times."""
FEWEST_SCATTERED_ROWS, MOST_ROWS_TOGETHER = 10_000, 1_000_000
"""Fewer segments' rows are searched in no time; more rows may not fit in one segment however often they are written."""
_BATCH = 1_024
_PATIENCE_S = 24 * 3600.0
"""A change may take hours, where it is a large corpus; a compaction has the time."""

_log = structlog.get_logger()


class Compaction:
    """Compacts one index, in a thread of its own; of all processes one at a time.

    `fold_at` passages that came or went are as many as are scanned behind the graph before they are put into it.
    """

    def __init__(self, storage: Storage, reader: IndexReader, fold_at: int) -> None:
        self._storage = storage
        self._reader = reader
        self._database = reader.database
        self._fold_at = fold_at
        self._pool = ThreadPoolExecutor(1, "index-compaction")
        self._job: Future[None] | None = None

    def start_if_due(self) -> None:
        """Begin, where there is need and it has not begun."""
        if self._job is not None and not self._job.done():
            return
        if self._is_graph_due() or self._is_keyword_due():
            self._job = self._pool.submit(self._run)

    def wait(self) -> None:
        """Wait until it has ended, if it has begun. Raises what it raised."""
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def close(self) -> None:
        self._pool.shutdown()

    def remove_leftovers(self) -> None:
        """Remove legs that are not in force any more, or never came to be."""
        with suppress(IndexLockedError), self._storage.compaction_lock():
            self._remove_unnamed()

    def renew_keyword_leg(self) -> None:
        """Make the keyword leg anew from the database, whatever the one in force holds. Raises `IndexLockedError`."""
        with self._storage.compaction_lock():
            self._remove_unnamed()
            self._make_keyword_leg()

    def renew_graph(self) -> None:
        """Make the graph anew: from nothing where the file in force is damaged. Raises `IndexLockedError`."""
        with self._storage.compaction_lock():
            self._remove_unnamed()
            self._make_graph()

    def _run(self) -> None:
        try:
            with suppress(IndexLockedError), self._storage.compaction_lock():
                while self._is_graph_due():
                    self._remove_unnamed()  # the last one stays while another process may be about to read it
                    self._make_graph()
                if self._is_keyword_due():
                    self._make_keyword_leg()
        except Exception as error:  # the change that it was begun after is in force all the same
            _log.warning("index.compaction_failed", path=str(self._storage.path), reason=str(error))
            raise

    def _remove_unnamed(self) -> None:
        head = self._head()
        self._storage.remove_unnamed(head.keyword, head.graph)

    def _head(self) -> IndexHead:
        with self._database.reading() as connection:
            return read_head(connection)

    def _is_graph_due(self) -> bool:
        with self._database.reading() as connection:
            head = read_head(connection)
            if self._reader.is_exact(head):
                return False
            gone = records.count_removed(connection, head.graph_generation) if head.graph else 0
            is_lost = bool(head.graph) and head.graph == self._reader.unreadable
            return is_lost or head.next_number - head.graph_numbers + gone >= self._fold_at

    def _is_keyword_due(self) -> bool:
        head = self._head()
        leg = self._reader.leg(head)
        if self._reader.is_exact(head):
            return False
        is_wasted = leg.count_dead() > max(FEWEST_DEAD_ROWS, MOST_DEAD_ROWS * head.passages)
        return is_wasted or is_scattered(head.passages, leg.count_scattered())

    def _make_graph(self) -> None:
        """Put into the graph what came since it was made, and mark in it what went."""
        head = self._head()
        graph, first = self._begin_graph(head)
        while batch := self._read_vectors(first, head.next_number):
            graph.add(batch)
            first = batch[-1][0] + 1
        name = f"{head.generation}-{secrets.token_hex(4)}"
        digest = graph.save(self._storage.graph(name))
        with self._storage.lock(_PATIENCE_S), self._database.writing() as connection:
            made = {"graph": name, "graph_sha256": digest, "graph_generation": head.generation}
            now = msgspec.structs.replace(read_head(connection), **made, graph_numbers=head.next_number)
            put_head(connection, now)
        _log.info("index.graph_made", path=str(self._storage.path), passages=head.passages, nodes=len(graph))

    def _begin_graph(self, head: IndexHead) -> tuple[PassageGraph, int]:
        """A graph to add to, and the number from which on it lacks passages."""
        with suppress(ValueError, FileNotFoundError), self._database.reading() as connection:  # what is lost is remade
            graph = PassageGraph.load(self._storage.graph(head.graph), head.graph, head.graph_sha256)
            nodes = len(graph) + records.count_units(connection, head.graph_numbers)
            if nodes <= (1.0 + MOST_DEAD_NODES) * head.units and head.units <= REFIT_AT * graph.projection.units:
                graph.remove(records.removed_since(connection, head.graph_generation))
                return graph, head.graph_numbers
        return PassageGraph.empty(self._fit_projection(head)), 0

    def _fit_projection(self, head: IndexHead) -> Projection:
        """Of passages that are spread over all there are."""
        step = max(1, head.next_number // _SAMPLE)
        numbers = list(range(0, head.next_number, step))
        with self._database.reading() as connection:
            return Projection.fit(records.find_vectors(connection, numbers)[2], head.units)

    def _read_vectors(self, first: int, last: int) -> list[tuple[int, Matrix]]:
        """The next of them. Each batch has a transaction of its own, as long ones would keep the log of writes growing;
        what goes meanwhile is missing in the graph, or dead in it."""
        with self._database.reading() as connection:
            return list(islice(records.list_vectors(connection, first, last), _BATCH))

    def _make_keyword_leg(self) -> None:
        """Write the rows into a new leg, then what changed meanwhile, and put it in force."""
        with self._database.reading() as connection:
            head = read_head(connection)
            path = self._storage.keyword(head.keyword + 1)
            shutil.rmtree(path, ignore_errors=True)
            leg = KeywordLeg(path)
            leg.replace(records.list_keyword_rows(connection))
        with self._storage.lock(_PATIENCE_S), self._database.writing() as connection:
            now = read_head(connection)
            if now.generation - head.generation >= LOGGED_GENERATIONS:
                reconcile_rows(connection, leg)
            elif now.generation > head.generation:
                came = records.list_keyword_rows(connection, head.next_number)
                leg.change(removed=records.removed_since(connection, head.generation), added=came)
            put_head(connection, msgspec.structs.replace(now, keyword=head.keyword + 1))
        _log.info("index.keyword_leg_made", path=str(path), passages=now.passages)


def is_scattered(passages: int, scattered: int) -> bool:
    """Whether a keyword leg is to be made anew, by its passages and those that lie beside its largest segment."""
    return passages <= MOST_ROWS_TOGETHER and scattered > max(FEWEST_SCATTERED_ROWS, MOST_SCATTERED_ROWS * passages)


class IndexParts(NamedTuple):
    """What an index is made of, for who inspects and mends it."""

    storage: Storage
    reader: IndexReader
    writer: IndexWriter
    compaction: Compaction
