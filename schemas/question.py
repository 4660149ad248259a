"""What the facts are made of: the question, the plan, the passages, the answer, the evidence."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Workload = Literal["classify", "extract", "assist"]
Where = Literal["edge", "cloud"]
Outcome = Literal["answered", "withheld", "abstained"]
Format = Literal["text", "json"]
Mode = Literal["edge_only", "cloud_stream", "cloud_with_shipped_draft", "race", "economy_loop"]
"""Who generates, and when; see `Plan`."""
Rung = Literal["full", "smaller_k", "no_rerank", "no_race", "no_loop", "edge_only", "evidence_only", "abstain"]
"""What is given up for the deadline or the link, in the order in which it is given up."""
Guess = Literal["draft", "past_answer"]
"""What the edge shows until the cloud speaks: its own draft, or what the cloud said to the same question before."""

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


class Concession(msgspec.Struct, frozen=True, gc=False):
    """A stage that could not have what it needed and what it gave up instead; the rung above costs `needed_ms`."""

    stage: str
    rung: Rung
    left_ms: float
    needed_ms: float
    reason: str = ""


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
    """What the router decided, and why. `shares_ms` sums to the request's budget.

    `mode`. `edge_only`: the cloud is not asked. `cloud_stream`: the cloud generates alone. `cloud_with_shipped_draft`:
    as before, with the edge's draft shipped once beside the question. `race`: as before, and the edge's draft is shown
    at once as provisional, where its confidence is at least `show_from`. What the cloud said to the same question
    before takes the draft's place in both, and is shown in both. `economy_loop`: the edge drafts, the cloud verifies in
    rounds of `draft_length` tokens; slower than the stream, cheaper for the cloud.
    `drafters` are asked in this order for each token. `break_even_rtt_ms` is the round trip below which a draft loop
    over the link would beat the stream (0: never); `forecast_ms` is the expected time to the final token for each mode
    that was weighed.
    """

    where: Where
    may_escalate: bool
    k: int
    model: str
    shares_ms: dict[str, float]
    table: str
    reason: str
    mode: Mode = "edge_only"
    drafters: tuple[str, ...] = ()
    draft_length: Annotated[int, msgspec.Meta(ge=0)] = 0
    show_from: Share = 1.0
    break_even_rtt_ms: float = 0.0
    forecast_ms: dict[str, float] = {}


class Draft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer's token ids as one side expects them, for the other to verify; a guess, never believed.

    `tokenizer` is the digest of the tokenizer that made the ids: to any other they mean nothing. `drafter` says who
    guessed.
    """

    ids: Annotated[tuple[int, ...], msgspec.Meta(max_length=512)]
    tokenizer: str
    drafter: str = ""


class Speculation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What drafting cost and saved in one answer. `steps` are forward passes of the target, prefill included.

    `drafted` tokens were proposed to the target, `accepted` of them stood, the rest were wasted work; `draft_bytes` is
    what the draft weighed on the wire. Tokens that a schema or the rule of quoting forces take no step, and are neither
    drafted nor accepted. Without those and without drafts `steps` equals `tokens`.
    """

    steps: int
    tokens: int
    drafted: int = 0
    accepted: int = 0
    draft_bytes: int = 0

    @property
    def wasted(self) -> int:
        """Drafted tokens that did not stand."""
        return self.drafted - self.accepted

    @property
    def bytes_per_accepted_token(self) -> float:
        """Infinite where bytes were sent and nothing stood."""
        if self.accepted:
            return self.draft_bytes / self.accepted
        return float("inf") if self.draft_bytes else 0.0


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
    format: Format = "text"
    citations: tuple[Citation, ...] = ()
    confidence: Share = 0.0
    checks: tuple[Check, ...] = ()
    speculation: Speculation | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One rule of the policy in force, and what it did to this answer."""

    rule: str
    verb: Literal["allow", "transform", "block", "abstain"]
    reason: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why this answer was given: where it was made, by what, from which spans, under which policy, in what time.

    `finished_by` is the side that said the last word, where the other one began or it is not the route's. `is_cut`: who
    began was lost before it said that this was all, and nobody could vouch for more. `committed_chars` of the text were
    shown as final before the answer was whole; `retractions` says how often shown text was taken back (at most once).
    `guess` is what was shown as provisional, where anything was.
    """

    site: str
    route: Where
    plan: Plan | None
    lineage: tuple[Artefact, ...]
    citations: tuple[Citation, ...]
    decisions: tuple[Decision, ...]
    checks: tuple[Check, ...] = ()
    concessions: tuple[Concession, ...] = ()
    speculation: Speculation | None = None
    finished_by: Where | None = None
    is_cut: bool = False
    committed_chars: int = 0
    retractions: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    guess: Guess | None = None
