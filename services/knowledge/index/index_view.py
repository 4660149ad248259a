"""What one reader sees of an index: the vectors of one generation. Made from the one before it and what changed.

Promises to equal the view of a reader that was opened just now. Next: index_reader.py.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import IndexHead
from tidegate.services.knowledge.index.graph import GraphLeg, PassageGraph, PassageTail
from tidegate.services.knowledge.index.vectors import DocumentKey, ExactLeg, Matrix, Numbers, label_units


@dataclass(frozen=True)
class IndexView:
    """`inode` tells the database that it was read from; see `IndexDatabase`."""

    head: IndexHead
    inode: int
    vectors: ExactLeg | GraphLeg

    @classmethod
    def empty(cls) -> IndexView:
        return cls(IndexHead(), 0, ExactLeg({}))


def follow_exact(connection: sqlite3.Connection, previous: ExactLeg | GraphLeg) -> ExactLeg:
    """All units' vectors, of which those are read that `previous` has not got. For few units only."""
    known = previous.blocks() if isinstance(previous, ExactLeg) else {}
    blocks: dict[DocumentKey, tuple[Numbers, Matrix]] = {}
    for entry in records.list_entries(connection):
        key = (entry.id, entry.first)
        blocks[key] = known[key] if key in known else _read_block(connection, entry)
    return ExactLeg(blocks)


def follow_graph(connection: sqlite3.Connection, head: IndexHead, previous: GraphLeg) -> GraphLeg:
    """`previous` and the passages that came since: numbers only grow. What went is left in it, and found gone by who
    reads its vectors."""
    added = records.list_vectors(connection, previous.seen)
    return GraphLeg(previous.graph, previous.tail.extended(added), head.next_number)


def begin_graph(connection: sqlite3.Connection, head: IndexHead, graph: PassageGraph | None) -> GraphLeg:
    """The saved graph, or none, and what it does not hold."""
    if graph is None:
        return follow_graph(connection, head, GraphLeg(None, PassageTail.empty(None), 0))
    tail = PassageTail.empty(graph.projection)
    return follow_graph(connection, head, GraphLeg(graph, tail, head.graph_numbers))


def _read_block(connection: sqlite3.Connection, entry: records.DocumentEntry) -> tuple[Numbers, Matrix]:
    parts = list(records.list_vectors(connection, entry.first, entry.first + entry.passages))
    labels = [label_units(number, len(units)) for number, units in parts]
    return np.concatenate(labels), np.concatenate([units for _, units in parts])
