"""An answer and what it rests on: passages, citations, checks; next: schemas/receipt.py."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.schemas.message import Share
from tidegate.schemas.plan import Speculation

Outcome = Literal["answered", "withheld", "abstained"]
Format = Literal["text", "json"]


class Passage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a document: characters `start` to `end` of the version `document_version`.

    `score` is the fused rank score (reciprocal rank fusion); `bm25` and `similarity` (cosine) are the two scores it
    fuses, 0.0 where that leg did not find the passage.
    """

    document_id: str
    document_version: str
    title: str
    text: str
    language: str
    start: int
    end: int
    score: float
    bm25: float = 0.0
    similarity: float = 0.0
    heading: str = ""


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """Characters `start` to `end` of a document, verbatim."""

    document_id: str
    document_version: str
    start: int
    end: int
    quote: str


class Suggestion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage near to a question that got no answer: related, not vouched for. `quote` is verbatim, characters
    `start` to `end` of the document; `score` is the cosine with the question, 0.0 where words alone led there."""

    document_id: str
    document_version: str
    title: str
    start: int
    end: int
    quote: str
    score: float
    heading: str = ""


class Check(msgspec.Struct, frozen=True, gc=False):
    """One local verification of a draft, with its score in 0…1."""

    name: str
    passed: bool
    score: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text and what it rests on. `confidence` is calibrated: of answers at 0.8, four in five are right."""

    text: str
    format: Format = "text"
    citations: tuple[Citation, ...] = ()
    confidence: Share = 0.0
    checks: tuple[Check, ...] = ()
    speculation: Speculation | None = None
