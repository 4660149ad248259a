"""From a document to what an index holds of it: its pieces, and a vector for each of their units.

Promises the same pieces of the same text, and that vectors which were made elsewhere fit. Next: chunking.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from os import cpu_count

import msgspec
import numpy as np

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Chunk, cut_into_chunks, render_unit
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix
from tidegate.services.knowledge.text_embedder import TextEmbedder

_EMBEDDED_AHEAD = 16


class EmbeddedDocument(msgspec.Struct, frozen=True):
    """A document, its pieces, and one row of `vectors` for each of their units."""

    document: Document
    chunks: tuple[Chunk, ...]
    vectors: Matrix


def with_heading(title: str, heading: str, text: str) -> str:
    """What is embedded: a text with its title and heading."""
    where = heading if title in heading else f"{title} › {heading}" if heading else title
    return f"{where}: {text}"


def units_in(chunks: Iterable[Chunk]) -> int:
    """How many vectors a document in these pieces has."""
    return sum(len(chunk.units) for chunk in chunks)


def embed_document(document: Document, embedder: TextEmbedder, given: Matrix | None = None) -> EmbeddedDocument:
    """The document in pieces, with the vectors that are given where there is one for each unit, or else new ones."""
    chunks = tuple(cut_into_chunks(document.text))
    if given is not None and given.shape == (units_in(chunks), DIMENSIONS):
        return EmbeddedDocument(document, chunks, given)
    lines = [
        with_heading(document.title, unit.heading, render_unit(document.text, unit))
        for chunk in chunks
        for unit in chunk.units
    ]
    matrix = np.stack([embedder.embed(line, "passage") for line in lines]).astype(np.float32)
    return EmbeddedDocument(document, chunks, matrix)


def embed_all(
    documents: Iterable[Document], embedder: TextEmbedder, given: Mapping[str, Matrix] | None = None
) -> Iterator[EmbeddedDocument]:
    """In order, a few ahead of where they are wanted; `given` are vectors by id, and what has some waits for nobody."""
    known = given or {}

    def embed(document: Document) -> EmbeddedDocument:
        return embed_document(document, embedder, known.get(document.id))

    left = iter(documents)
    with ThreadPoolExecutor(min(4, cpu_count() or 1)) as pool:
        while batch := list(islice(left, _EMBEDDED_AHEAD)):
            is_made = all(document.id in known for document in batch)
            yield from map(embed, batch) if is_made else pool.map(embed, batch)
