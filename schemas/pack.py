"""The contents of a pack: a site's documents, intents, policies, and the questions that it must be able to answer.

Next: services/packs/load.py, which reads one."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from tidegate.schemas.answer import CharacterSpan, overlaps
from tidegate.schemas.message import END, Name
from tidegate.schemas.question import Workload

QuestionKind = Literal[
    "answerable",
    "paraphrased",
    "language",
    "hub",
    "out_of_scope",
    "personal",
    "unsafe",
    "unsupported_language",
    "smalltalk",
    "distress",
]
Scope = Literal["shared", "site", "hub"]
"""Where a document may be: published at the hub and held there and at sites; at its own site only; at the hub only."""
Domain = Literal["site", "hub"]
Verdict = Literal["serve", "unsafe", "out_of_scope", "smalltalk", "distress"]
Language = Annotated[str, msgspec.Meta(pattern=rf"^[a-z]{{2}}{END}", description="ISO 639-1")]
IsoDay = Annotated[
    str, msgspec.Meta(pattern=rf"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})?{END}", description="ISO 8601, or empty")
]
ItemId = Annotated[str, msgspec.Meta(pattern=rf"^[a-z0-9][a-z0-9_-]{{0,63}}{END}")]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is what `version_of_document` makes of it; `scope` says where the document may be held.

    It is in the collection `collection`, if that is declared by its pack, else in the one for its scope.

    Page n begins at character `page_starts[n - 1]`, where the document has pages; `date` is the day of its last change,
    ISO 8601, as its file states it. `valid_from` and `valid_until` are the first and the last day on which it holds,
    ISO 8601, where its front matter says so; `recognised` are the characters that were recognised in a picture, by OCR.
    `is_public_contact`: the personal data in it, such as telephone numbers and addresses, may be given to anybody.
    """

    id: ItemId
    title: str
    language: Language
    scope: Scope
    text: str
    version: str
    collection: Annotated[str, msgspec.Meta(pattern=rf"^([a-z0-9][a-z0-9_-]{{0,31}})?{END}")] = ""
    page_starts: tuple[int, ...] = ()
    recognised: tuple[CharacterSpan, ...] = ()
    date: str = ""
    valid_from: IsoDay = ""
    valid_until: IsoDay = ""
    is_public_contact: bool = False

    def page_at(self, position: int) -> int:
        """The page on which a character stands; 0 where the document has none."""
        return bisect_right(self.page_starts, position)

    def is_recognised(self, start: int, end: int) -> bool:
        """Whether any of these characters was recognised in a picture."""
        return overlaps(self.recognised, start, end)


def is_held(scope: Scope, domain: Domain) -> bool:
    """Whether a document of this scope is held at a site, or at the hub."""
    return scope in ("shared", domain)


class CollectionRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A collection as a pack declares it; schemas/sync.py, `Collection`, says what each of these means.

    `public_contact`: all its documents are (`Document.is_public_contact`).
    """

    name: Name
    owner: Scope = "shared"
    sites: tuple[Name, ...] = ()
    sites_write: bool = False
    merge: Literal["last-writer", "field-merge", "ask"] = "ask"
    fresh_within_s: Annotated[int, msgspec.Meta(ge=1)] = 600
    public_contact: bool = False


def version_of_document(
    text: str,
    valid_from: str = "",
    valid_until: str = "",
    recognised: Iterable[CharacterSpan] = (),
    *,
    is_public_contact: bool = False,
) -> str:
    """The first 12 hex digits of the sha256 of the text, the days on which it holds, what of it was recognised in a
    picture, and whether it is public contact: an index that holds this version has all of them."""
    days = (valid_from, valid_until) if valid_from or valid_until else ()
    spans = (f"recognised {start}-{end}" for start, end in recognised)
    marks = ("public contact",) if is_public_contact else ()
    return hashlib.sha256("\0".join((text, *days, *spans, *marks)).encode()).hexdigest()[:12]


class Intent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people may want, by example. `verdict` says what an utterance of this kind leads to.

    `serve`: an answer; `unsafe`: nothing; `out_of_scope`: doubt; `smalltalk` and `distress`: one of the pack's replies,
    at once and without a look at any document.
    """

    id: ItemId
    utterances: tuple[str, ...]
    verdict: Verdict = "serve"
    workload: Workload = "assist"


class PackReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said where an intent of verdict `smalltalk` or `distress` was found, by language; or, as `unsafe`, to
    whatever is refused as that.

    `intent` is the intent's id, or the verdict, for all its intents that have no reply of their own. `{emergency}` and
    `{helpline}` stand for the site's numbers; a sentence with `{helpline}` is left out where the site has none.
    """

    intent: ItemId
    texts: Annotated[dict[Language, str], msgspec.Meta(min_length=1)]


class LabelledQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question with what a right answer must cite (any one of `documents`) and say (all of `facts`).

    A fact is matched without regard to case and white space; `a|b` means that either form will do; a number is not
    found inside a longer one (£5 is not in £50). `personal` lists the raw values in the text that must never be
    stored. Abstention, or being withheld, is right where `kind` says so.
    """

    id: ItemId
    text: str
    kind: QuestionKind
    language: Language = "en"
    documents: tuple[ItemId, ...] = ()
    facts: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    workload: Workload = "assist"
    schema: str = ""


class Synonyms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words or short phrases that people use for one thing, in lower case; the documents' own term comes first."""

    language: Language
    words: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]


class CalibrationQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question used to calibrate the confidence, never to measure it; no documents: there is no answer."""

    text: str
    language: Language = "en"
    documents: tuple[ItemId, ...] = ()


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """A pack as loaded. `version` is a digest over all of its files."""

    name: str
    version: str
    path: str
    documents: tuple[Document, ...]
    intents: tuple[Intent, ...]
    questions: tuple[LabelledQuestion, ...]
    calibration: tuple[CalibrationQuestion, ...]
    policy_files: tuple[str, ...]
    thesaurus: tuple[Synonyms, ...] = ()
    replies: tuple[PackReply, ...] = ()
    collections: tuple[CollectionRules, ...] = ()
