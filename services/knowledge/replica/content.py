"""A document as a replica holds it, and back: all of its fields, and the vectors of its units, made once.

Promises that a document comes back as it went in, and that vectors are used only where they are of the same model and
the same pieces. Next: authoring.py, index_follower.py."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec
import numpy as np

from tidegate.schemas import TidegateError
from tidegate.schemas.answer import CharacterSpan
from tidegate.schemas.pack import Document, version_of_document
from tidegate.schemas.sync import DocumentContent, Vectors
from tidegate.services.knowledge.index.keyword import ANALYZERS
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix

MOST_CONTENT_BYTES = 900_000
"""Of the million bytes that an operation may have so many may be its content: clocks and stamps need the rest."""
_HALVES = np.dtype("<f2")
_NUMBER, _SPAN = "[0-9]{1,9}", "[0-9]{1,9}-[0-9]{1,9}"
_LAYOUT = re.compile(rf"([0-9a-f]{{8}});((?:{_NUMBER}(?:,{_NUMBER})*)?);((?:{_SPAN}(?:,{_SPAN})*)?)")
_PLAIN = ("date", "valid_from", "valid_until")
_NORM_SQUARED = (0.96, 1.04)


class ContentRefusedError(TidegateError, ValueError):
    """What a replica holds of a document cannot be indexed: it is empty, or is no document of this program."""

    hint = "write the document again: `tidegate publish document` at the hub, `tidegate index add` at a site"


def name_model(embedder: str) -> str:
    """The digest by which vectors name what they can be compared with: the embedding model of this version, and what
    cuts a text into the units that they are of."""
    return hashlib.sha256(f"{ANALYZERS}-{embedder}".encode()).hexdigest()


def to_content(document: Document, vectors: Vectors | None = None) -> DocumentContent:
    """The document to be written to a replica; its version is not in it, as it follows from the rest.

    Where it would not fit a message with its vectors, their data are left out: they are made anew where it is indexed.
    """
    meta = {name: value for name in _PLAIN if (value := getattr(document, name))}
    if document.page_starts or document.recognised:
        meta["layout"] = _write_layout(document)
    if document.is_public_contact:
        meta["public_contact"] = "true"
    content = DocumentContent(
        title=document.title,
        language=document.language,
        text=document.text,
        meta={**meta, "scope": document.scope},
        vectors=vectors,
    )
    if vectors is not None and vectors.data and len(msgspec.msgpack.encode(content)) > MOST_CONTENT_BYTES:
        return msgspec.structs.replace(content, vectors=msgspec.structs.replace(vectors, data=b""))
    return content


def to_document(document_id: str, content: DocumentContent) -> Document:
    """The document that a replica holds. Raises `ContentRefusedError` for what this program cannot index."""
    meta = content.meta
    pages, recognised = _read_layout(meta.get("layout", ""), content.text)
    days = (meta.get("valid_from", ""), meta.get("valid_until", ""))
    is_public = meta.get("public_contact") == "true"
    if not content.text.strip():
        raise ContentRefusedError(f"{document_id} has no text")
    try:
        return msgspec.convert(
            {
                "id": document_id,
                "title": content.title,
                "language": content.language,
                "scope": meta.get("scope", "site"),
                "text": content.text,
                "version": version_of_document(content.text, *days, recognised, is_public_contact=is_public),
                "page_starts": pages,
                "recognised": recognised,
                "date": meta.get("date", ""),
                "valid_from": days[0],
                "valid_until": days[1],
                "is_public_contact": is_public,
            },
            Document,
        )
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise ContentRefusedError(f"{document_id}: {error}") from error


def pack_vectors(matrix: Matrix, model: str) -> Vectors:
    """The vectors of a document's units, row by row."""
    data = np.ascontiguousarray(matrix, _HALVES).tobytes()
    return Vectors(model=model, dimensions=DIMENSIONS, digest=hashlib.sha256(data).hexdigest(), data=data)


def unpack_vectors(content: DocumentContent, model: str) -> Matrix | None:
    """The vectors that came with a document; None where there are none, where they are another model's, or no unit
    vectors at all: one that is not finite would be nearest to everything.

    Whether there is one for each unit is looked at where the document is cut (`embedded.embed_document`).
    """
    vectors = content.vectors
    if vectors is None or vectors.model != model or vectors.dimensions != DIMENSIONS or not vectors.data:
        return None
    if (
        len(vectors.data) % (_HALVES.itemsize * DIMENSIONS)
        or vectors.digest != hashlib.sha256(vectors.data).hexdigest()
    ):
        return None
    matrix: Matrix = np.frombuffer(vectors.data, _HALVES).reshape(-1, DIMENSIONS).astype(np.float32)
    norms = np.einsum("ij,ij->i", matrix, matrix)
    least, most = _NORM_SQUARED
    return matrix if bool(np.all((norms > least) & (norms < most))) else None


def is_without_vectors(content: DocumentContent) -> bool:
    """Whether its vectors were left out for their size: each site makes them anew."""
    return content.vectors is not None and not content.vectors.data


def _write_layout(document: Document) -> str:
    """Where pages begin and what was recognised, of this text: merged with another text they would mean nothing."""
    spans = ",".join(f"{start}-{end}" for start, end in document.recognised)
    return f"{_mark(document.text)};{','.join(map(str, document.page_starts))};{spans}"


def _read_layout(layout: str, text: str) -> tuple[tuple[int, ...], tuple[CharacterSpan, ...]]:
    match = _LAYOUT.fullmatch(layout)
    if match is None or match[1] != _mark(text):
        return (), ()
    pages, spans = (list(filter(None, each.split(","))) for each in (match[2], match[3]))
    return tuple(map(int, pages)), tuple(_spans(spans))


def _spans(written: Iterable[str]) -> Iterable[CharacterSpan]:
    for each in written:
        start, end = each.split("-")
        yield int(start), int(end)


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
