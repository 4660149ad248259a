"""Documents as they are written to a replica: with their vectors, which are made here once and nowhere else.

Promises that an index which takes them ranks as one that made them itself. Next: content.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import structlog

from tidegate.schemas.pack import Document
from tidegate.schemas.sync import DocumentContent
from tidegate.services.knowledge.index.embedded import embed_all
from tidegate.services.knowledge.index.index_writer import check_documents
from tidegate.services.knowledge.replica.content import is_without_vectors, name_model, pack_vectors, to_content
from tidegate.services.knowledge.text_embedder import TextEmbedder

_log = structlog.get_logger()
Contents = Iterator[tuple[str, DocumentContent]]


def contents_of(
    documents: Iterable[Document],
    embedder: TextEmbedder,
    on_document: Callable[[Document], None] = lambda _document: None,
) -> Contents:
    """Each document by its id, in order, as it is written; `on_document` is called with each that has its vectors.

    Few vectors are held at a time. A document whose vectors do not fit a message goes without, which is logged; see
    `content.is_without_vectors`. Raises `DocumentRefusedError` for one that cannot be indexed, before any is embedded.
    """
    listed = list(documents)
    check_documents(listed)
    return _embedded(listed, embedder, on_document)


def _embedded(
    documents: Iterable[Document], embedder: TextEmbedder, on_document: Callable[[Document], None]
) -> Contents:
    model = name_model(embedder.version)
    for embedded in embed_all(documents, embedder):
        document = embedded.document
        content = to_content(document, pack_vectors(embedded.vectors, model))
        if is_without_vectors(content):
            size = embedded.vectors.nbytes // 2
            _log.warning(
                "replica.vectors_left_out", document=document.id, vectors_bytes=size, instead="made at each site"
            )
        on_document(document)
        yield document.id, content
