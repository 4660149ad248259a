"""The messages of the pipeline, in flow order: each stage reads one fact and leaves the next one behind.

Next: services/pipeline.py, which stage does what; schemas/subjects.py, where they are stored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from tidegate.schemas.answer import Answer, Citation, ExtractedField, Format, Outcome, Passage, Suggestion
from tidegate.schemas.message import Message, Millis, Name, Rid, Share
from tidegate.schemas.plan import Degradation, Draft, Plan, Speculation, Where
from tidegate.schemas.question import Question
from tidegate.schemas.receipt import Artefact, Decision, Receipt, StageTiming
from tidegate.schemas.request import Asked
from tidegate.schemas.source_mark import SourceMark

F = TypeVar("F", bound="Fact")


class Fact(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What every fact of one request carries: whose it is, by when it is due, what has contributed to it so far.

    Times are Unix time in milliseconds. `timings` is written by the worker, `lineage` and `degradations` by the
    handlers. `can_retract` says that the asker's client can retract text that it has shown. `generation` is what was in
    force at the site when the question was screened, and holds for all of the request; 0: the pack that the site has.
    """

    rid: Rid
    tenant: Name
    site: Name
    asked_at_ms: Millis
    deadline_at_ms: Millis
    timings: tuple[StageTiming, ...] = ()
    lineage: tuple[Artefact, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    can_retract: bool = False
    generation: Annotated[int, msgspec.Meta(ge=0)] = 0

    def followed_by(self, kind: type[F], *parts: Artefact, **fields: Any) -> F:
        """The next fact of the same request; `parts` are added to the lineage, `degradations` to those made before."""
        carried = {name: getattr(self, name) for name in Fact.__struct_fields__}
        carried["lineage"] += parts
        carried["degradations"] += tuple(fields.pop("degradations", ()))
        return kind(**carried, **fields)


class Screened(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The question was read, found safe, and holds no personal data in clear."""

    question: Question


class Withheld(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """No answer will be given; `reason` is a code, `text` the sentence for the asker.

    `unclear`: the question goes on from a conversation in a way that could not be resolved, and `text` asks back.
    `closed`: what is in force at the site is too old to answer by, or there is nothing in force. `hub_refused`: the hub
    took the escalation for one that may not come up. `evidence_only`: only passages may be quoted now, and the answer
    quoted none.
    `question` is there once the question was screened. `suggestions` are the nearest passages that the policy let pass.
    `fields` are those of an extraction that could not be vouched for. `speculation` is what an answer took that a model
    gave and that may not be said.
    """

    reason: Literal[
        "unsupported_language",
        "unsafe",
        "unscreenable",
        "forged_token",
        "unclear",
        "policy_block",
        "abstained",
        "cloud_unreachable",
        "deadline",
        "closed",
        "evidence_only",
        "hub_refused",
    ]
    stage: str
    language: str = ""
    text: str = ""
    plan: Plan | None = None
    route: Where = "edge"
    decisions: tuple[Decision, ...] = ()
    question: Question | None = None
    suggestions: tuple[Suggestion, ...] = ()
    fields: tuple[ExtractedField, ...] = ()
    speculation: Speculation | None = None


class Replied(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What the site says at once, without a look at any document: to small talk, or to a person in distress.

    `text` is the site's own, from its pack or the shipped ones; `decisions` says which intent was found; `confidence`
    is its probability; `instructions` is the digest of those that came with the request and were of no use.
    """

    reason: Literal["smalltalk", "distress"]
    stage: str
    text: str
    language: str = ""
    confidence: Share = 0.0
    decisions: tuple[Decision, ...] = ()
    instructions: str = ""


class PlannedFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What every fact carries once there is a plan, which shares out the time that there is."""

    question: Question
    plan: Plan


class Routed(PlannedFact, frozen=True, kw_only=True, omit_defaults=True):
    """A plan was made for the question."""


class Retrieved(PlannedFact, frozen=True, kw_only=True, omit_defaults=True):
    """The passages that may answer the question, best first."""

    passages: tuple[Passage, ...] = ()


class Drafted(PlannedFact, frozen=True, kw_only=True, omit_defaults=True):
    """The edge's own answer, which passed the edge's verifier, or the best it has when it may not escalate."""

    answer: Answer


class Escalated(PlannedFact, frozen=True, kw_only=True, omit_defaults=True):
    """No answer of the edge passed its verifier, so the cloud is asked. The only fact that crosses the leaf upwards.

    It has no field for an asker, a passage of the site or a value from the vault. `draft` is the edge's draft of the
    answer, made from the question and the documents: personal data in it has become vault tokens too.

    `reason` is a code: `planned` for the cloud; `no_answer` or `low_confidence` of the edge; or the check of the site's
    verifier that its draft failed: `schema`, `entailment`, `policy`. `source` is which process of the site asks; None
    where the site was never provisioned, or is older.
    """

    reason: str
    edge_confidence: float = 0.0
    draft: Draft | None = None
    source: SourceMark | None = None


class Verified(PlannedFact, frozen=True, kw_only=True, omit_defaults=True):
    """The cloud's answer; an empty text with confidence 0 means that the cloud has none either.

    `suggestions` are the passages of the hub's own documents that are nearest, where its answer is not sure. With a
    `refusal` the hub did not look at the question, and says only why, as a code: the site takes question and plan from
    what it has itself.
    """

    answer: Answer
    suggestions: tuple[Suggestion, ...] = ()
    refusal: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Approved(PlannedFact, frozen=True, kw_only=True, omit_defaults=True):
    """This answer passed every policy in force, in this form, and with these notices to the asker."""

    route: Where
    answer: Answer
    decisions: tuple[Decision, ...] = ()
    notices: tuple[str, ...] = ()


class Published(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The one visible answer to a request, with its receipt. Vault tokens are not re-identified here.

    `suggestions` come with an abstention only: passages that may be related, and for which nothing vouches.
    `fields` are those of an extraction, with what each rests on; an abstention's say what is missing or unsure.
    `notices` are sentences that the policies oblige whoever shows the answer to show with it.
    """

    outcome: Outcome
    text: str
    reason: str = ""
    format: Format = "text"
    language: str = ""
    citations: tuple[Citation, ...] = ()
    confidence: float = 0.0
    suggestions: tuple[Suggestion, ...] = ()
    fields: tuple[ExtractedField, ...] = ()
    notices: tuple[str, ...] = ()
    receipt: Receipt

    @property
    def closing(self) -> str:
        """The notices as they follow the text; empty where that is JSON, which nothing may follow."""
        return "" if self.format == "json" else "".join(f"\n\n{notice}" for notice in self.notices)


PIPELINE: tuple[type[Message], ...] = (
    Asked,
    Screened,
    Withheld,
    Replied,
    Routed,
    Retrieved,
    Drafted,
    Escalated,
    Verified,
    Approved,
    Published,
)
