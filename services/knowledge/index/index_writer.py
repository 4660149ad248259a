"""Changes an index. Promises that a crash between any two writes leaves it whole. Next: storage.py, keyword.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import msgspec
import numpy as np

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import cut_into_chunks, render_unit
from tidegate.services.knowledge.index.keyword import ANALYZERS, KeywordLeg, KeywordRow
from tidegate.services.knowledge.index.markdown import strip_tags
from tidegate.services.knowledge.index.storage import (
    DocumentEntry,
    DocumentOrigin,
    Manifest,
    Storage,
    StoredDocument,
    Tombstone,
    make_mark,
)
from tidegate.services.knowledge.index.vectors import Matrix
from tidegate.services.knowledge.text_embedder import TextEmbedder

OnDocument = Callable[[Document], None]
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What an id may be made of: the names of files are."""


class DocumentRefusedError(TidegateError, ValueError):
    """A document cannot be indexed: it is empty, has no proper id, or comes twice in one call."""

    hint = "give every document a text, and an id of its own of a-z, 0-9, - and _"


class IndexWriter:
    """The one writer of an index; every method takes the directory's lock. Raises `IndexLockedError` where it is taken.

    Added: files, then the keyword leg, then the manifest. Removed: the manifest, then the keyword leg, then files.
    """

    def __init__(self, storage: Storage, keyword: KeywordLeg, embedder: TextEmbedder) -> None:
        self._storage = storage
        self._keyword = keyword
        self._embedder = embedder

    @property
    def built_by(self) -> str:
        return f"{ANALYZERS}-{self._embedder.version}"

    def upsert(self, documents: Sequence[Document], origin: DocumentOrigin, on_document: OnDocument) -> int:
        check_documents(documents)
        with self._storage.lock():
            manifest = self._storage.manifest()
            self._reconcile(manifest)
            known = manifest.documents
            changed = [document for document in documents if not _is_indexed(document, known.get(document.id))]
            if changed:
                self._add(manifest, changed, {document.id: origin for document in changed}, on_document)
            return len(changed)

    def delete(self, names: Iterable[str], origin: DocumentOrigin) -> int:
        with self._storage.lock():
            manifest = self._storage.manifest()
            gone = {name: manifest.documents[name] for name in dict.fromkeys(names) if name in manifest.documents}
            if not gone:
                return 0
            left = {name: entry for name, entry in manifest.documents.items() if name not in gone}
            new = {name: Tombstone(version=entry.version, by=origin) for name, entry in gone.items()}
            self._commit(manifest, left, {**manifest.tombstones, **new}, manifest.next_number)
            return len(gone)

    def repair(self) -> None:
        """Make the keyword leg hold what the manifest says."""
        with self._storage.lock():
            self._reconcile(self._storage.manifest())

    def is_reconciled(self, manifest: Manifest) -> bool:
        """Whether the keyword leg holds each passage that the manifest names once, and nothing else."""
        return self._keyword.entries() == manifest.rows()

    def rebuild(self) -> None:
        """Make every document's pieces and vectors again, from the text that the index holds."""
        with self._storage.lock():
            manifest = self._storage.manifest()
            documents = [
                self._storage.document(name, entry.version, manifest.built_by)
                for name, entry in manifest.documents.items()
            ]
            self._add(manifest, documents, {name: entry.origin for name, entry in manifest.documents.items()})

    def keep_graph(self, digest: str, rows: int) -> None:
        """Record the graph that was just saved."""
        with self._storage.lock():
            manifest = self._storage.manifest()
            self._storage.put_manifest(msgspec.structs.replace(manifest, graph_sha256=digest, graph_rows=rows))

    def _add(
        self,
        manifest: Manifest,
        documents: Sequence[Document],
        origins: dict[str, DocumentOrigin],
        on_document: OnDocument = lambda _document: None,
    ) -> None:
        entries = dict(manifest.documents)
        number = manifest.next_number
        added: list[KeywordRow] = []
        with ThreadPoolExecutor(min(4, cpu_count() or 1)) as pool:
            for document, (stored, vectors) in zip(documents, pool.map(self._embed, documents), strict=True):
                on_document(document)
                self._storage.put(stored, vectors, self.built_by)
                entries[document.id] = DocumentEntry(
                    version=document.version,
                    title=document.title,
                    language=document.language,
                    origin=origins[document.id],
                    first=number,
                    passages=len(stored.chunks),
                )
                added.extend(_keyword_rows(stored, number))
                number += len(stored.chunks)
        self._keyword.append(added)
        tombstones = {name: each for name, each in manifest.tombstones.items() if name not in origins}
        self._commit(manifest, entries, tombstones, number)

    def _commit(
        self,
        manifest: Manifest,
        documents: dict[str, DocumentEntry],
        tombstones: dict[str, Tombstone],
        next_number: int,
    ) -> None:
        manifest = msgspec.structs.replace(
            manifest,
            generation=manifest.generation + 1,
            embedder=self._embedder.version,
            analyzers=ANALYZERS,
            next_number=next_number,
            documents=documents,
            tombstones=tombstones,
        )
        self._storage.put_manifest(manifest)
        self._reconcile(manifest)
        self._storage.remove_unnamed(manifest)

    def _embed(self, document: Document) -> tuple[StoredDocument, Matrix]:
        pieces = tuple(cut_into_chunks(document.text))
        lines = [
            with_heading(document.title, unit.heading, render_unit(document.text, unit))
            for chunk in pieces
            for unit in chunk.units
        ]
        matrix = np.stack([self._embedder.embed(line, "passage") for line in lines]).astype(np.float32)
        return StoredDocument(document=document, chunks=pieces), matrix

    def _reconcile(self, manifest: Manifest) -> None:
        """A crash may have left the keyword leg more than the manifest names or, on a bad disk, less."""
        if self.is_reconciled(manifest):
            return
        rows: list[KeywordRow] = []
        for name, entry in sorted(manifest.documents.items()):
            rows += _keyword_rows(self._storage.get(name, entry.version, manifest.built_by), entry.first)
        self._keyword.replace(rows)


def check_documents(documents: Iterable[Document]) -> None:
    """Raises `DocumentRefusedError` for one that must not be indexed, before anything is written."""
    seen: set[str] = set()
    for document in documents:
        if not (_KEY.fullmatch(document.id) and _KEY.fullmatch(document.version)):
            raise DocumentRefusedError(f"{document.id}@{document.version} is no name of a document")
        if not document.text.strip():
            raise DocumentRefusedError(f"the document {document.id} is empty")
        if document.id in seen:
            raise DocumentRefusedError(f"the document {document.id} is given twice")
        seen.add(document.id)


def with_heading(title: str, heading: str, text: str) -> str:
    """What is embedded: a text with its title and heading."""
    where = heading if title in heading else f"{title} › {heading}" if heading else title
    return f"{where}: {text}"


def _keyword_rows(stored: StoredDocument, first: int) -> list[KeywordRow]:
    document = stored.document
    mark = make_mark(document.id, document.version)
    return [
        KeywordRow(
            number=number,
            mark=mark,
            language=document.language,
            head=f"{document.title} {chunk.heading}",
            body=strip_tags(document.text[chunk.start : chunk.end]),
        )
        for number, chunk in enumerate(stored.chunks, start=first)
    ]


def _is_indexed(document: Document, entry: DocumentEntry | None) -> bool:
    indexed = entry and (entry.version, entry.title, entry.language)
    return indexed == (document.version, document.title, document.language)
