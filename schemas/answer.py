"""An answer and what it rests on: passages, citations, checks; next: schemas/receipt.py."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from tidegate.schemas.message import Share
from tidegate.schemas.plan import Speculation, Writing

Outcome = Literal["answered", "withheld", "abstained"]
Format = Literal["text", "json"]
CharacterSpan = tuple[int, int]
"""From a first character of a text to before another."""


def overlaps(spans: Iterable[CharacterSpan], start: int, end: int) -> bool:
    """Whether any of the characters `start` to `end` lies in one of the spans."""
    return any(first < end and start < last for first, last in spans)


class Passage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of a document: characters `start` to `end` of the version `document_version`.

    `page` is that on which it begins, 0 where the document has none; `page_breaks` are the characters of the document
    at which the next pages begin in it, and `recognised` those that were recognised in a picture, by OCR, from first to
    before last. `score` is the fused rank score (reciprocal rank fusion); `bm25` and `similarity` (cosine) are the two
    scores that it fuses, 0.0 where that leg did not find the passage.

    A document that was replicated is of a `collection`, and was signed by `signer`: site or hub, and the first digits
    of the key's id, as `hub/0123456789abcdef`; several where versions were merged. Both are empty for others.
    `known_at_ms`, by the hub's clock, is when the collection was last known to lack nothing (0: never), and `is_fresh`
    whether that was not too long ago when the question was asked.
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
    page: int = 0
    page_breaks: tuple[int, ...] = ()
    recognised: tuple[CharacterSpan, ...] = ()
    collection: str = ""
    signer: str = ""
    known_at_ms: int = 0
    is_fresh: bool = True

    def page_at(self, position: int) -> int:
        """The page on which a character of the document stands; 0 where that is not known, as outside of this."""
        is_known = self.page and self.start <= position < self.end
        return self.page + bisect_right(self.page_breaks, position) if is_known else 0

    def is_recognised(self, start: int, end: int) -> bool:
        """Whether any of these characters of the document was recognised in a picture, as far as that is known."""
        return overlaps(self.recognised, start, end)


class Citation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Characters `start` to `end` of a document, verbatim. They begin on page `page`, 0 where the document has none.

    `is_recognised`: they were recognised in a picture of the page, by OCR, so that single characters may be misread.
    `collection`, `signer`, `known_at_ms` and `is_fresh` are those of the passage. `is_public_contact`: the document may
    give the personal data in it to anybody.
    """

    document_id: str
    document_version: str
    start: int
    end: int
    quote: str
    page: int = 0
    is_recognised: bool = False
    collection: str = ""
    signer: str = ""
    known_at_ms: int = 0
    is_fresh: bool = True
    is_public_contact: bool = False


class Suggestion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage near to a question that got no answer: related, not vouched for. `quote` is verbatim, characters
    `start` to `end` of the document; `score` is the cosine with the question, 0.0 where words alone led there.
    `page`, `is_recognised`, `signer` and `is_fresh` are as in a citation."""

    document_id: str
    document_version: str
    title: str
    start: int
    end: int
    quote: str
    score: float
    heading: str = ""
    page: int = 0
    is_recognised: bool = False
    signer: str = ""
    is_fresh: bool = True


class Check(msgspec.Struct, frozen=True, gc=False):
    """One local verification of a draft, with its score in 0…1."""

    name: str
    passed: bool
    score: float


class ExtractedField(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field of the asker's schema. `value` is what was read for it, and `evidence` says so: characters `start` to
    `end` of the text as it was read, with vault tokens in it. `confidence` is how often such a value is right.

    `problem` is there where the field keeps the schema from being filled: the text does not say it (`missing`), the
    value is not sure enough (`unsure`), or it is not valid (`invalid`).
    """

    path: str
    value: Any = None
    evidence: str = ""
    start: int = 0
    end: int = 0
    confidence: Share = 0.0
    problem: Literal["", "missing", "unsure", "invalid"] = ""


class WritingReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model's own words came to be in an answer: of `sentences`, so many were written a second time (`retried`),
    and so many gave way to a quotation (`replaced`). `faults` say why, one for each sentence that was refused.
    `instructions` is the digest of those that stood in the model's prompt beside our own.
    """

    mode: Writing
    sentences: int
    retried: int = 0
    replaced: int = 0
    faults: tuple[str, ...] = ()
    instructions: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text and what it rests on. `confidence` is calibrated: of answers at 0.8, four in five are right.

    `fields` are those of the schema that an extraction was to fill. `not_run` names the checks of the site's verifier
    for which there was no time, or no need after another had failed.
    """

    text: str
    format: Format = "text"
    citations: tuple[Citation, ...] = ()
    confidence: Share = 0.0
    checks: tuple[Check, ...] = ()
    speculation: Speculation | None = None
    fields: tuple[ExtractedField, ...] = ()
    writing: WritingReport | None = None
    not_run: tuple[str, ...] = ()
