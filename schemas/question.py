"""What the facts are made of: the question, the plan, the passages, the answer, the evidence."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Workload = Literal["classify", "extract", "assist"]
Where = Literal["edge", "cloud"]
Outcome = Literal["answered", "withheld", "abstained"]

Rid = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="request id; one subject token")]
Name = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="tenant or site; one subject token")
]
Millis = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Spent(msgspec.Struct, frozen=True, gc=False):
    """One line of the ledger: how long a stage let the fact wait and how long it worked on it."""

    stage: str
    waited_ms: float
    worked_ms: float


class Artefact(msgspec.Struct, frozen=True, gc=False):
    """Something that had a part in the answer, by the version that had it."""

    kind: Literal["model", "policy", "document", "index", "table", "pack", "detector", "software"]
    id: str
    version: str


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question after screening: `text` holds vault tokens where it held personal data.

    Only the prefilter makes one from a person's words. This is the only form in which a question crosses the leaf.
    """

    text: str
    language: str
    intent: str
    intent_confidence: Share
    workload: Workload = "assist"
    schema: str = ""
    vault_tokens: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the router decided, and why. `shares_ms` sums to the request's budget."""

    where: Where
    may_escalate: bool
    k: int
    model: str
    shares_ms: dict[str, float]
    table: str
    reason: str


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


class Check(msgspec.Struct, frozen=True, gc=False):
    """One local verification of a draft, with its score in 0…1."""

    name: str
    passed: bool
    score: float


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said and what it rests on. `confidence` is calibrated: of answers at 0.8, four in five are right."""

    text: str
    format: Literal["text", "json"] = "text"
    citations: tuple[Citation, ...] = ()
    confidence: Share = 0.0
    checks: tuple[Check, ...] = ()


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One rule of the policy in force, and what it did to this answer."""

    rule: str
    verb: Literal["allow", "transform", "block", "abstain"]
    reason: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why this answer was given: where it was made, by what, from which spans, under which policy, in what time."""

    site: str
    route: Where
    plan: Plan | None
    lineage: tuple[Artefact, ...]
    citations: tuple[Citation, ...]
    decisions: tuple[Decision, ...]
    checks: tuple[Check, ...] = ()
