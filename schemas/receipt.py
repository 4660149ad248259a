"""Why an answer was given: by which artefacts, under which policy, in what time; next: schemas/facts.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.answer import Check, Citation, WritingReport
from tidegate.schemas.plan import Degradation, Guess, Mode, Plan, Speculation, Where
from tidegate.schemas.question import RewrittenBy


class StageTiming(msgspec.Struct, frozen=True, gc=False):
    """How long a fact waited for a stage, and how long the stage worked on it."""

    stage: str
    waited_ms: float
    worked_ms: float


class Artefact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Something that contributed to the answer, with its version.

    `epoch` counts what was published under its name, this version included; 0: it was not published, but configured.
    """

    kind: Literal[
        "model",
        "policy",
        "prompt",
        "document",
        "index",
        "config",
        "pack",
        "detector",
        "software",
        "tool",
        "switch",
        "egress",
    ]
    id: str
    version: str
    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One rule of the policy in force, and what it did to this answer; `oblige`: it passes with a notice."""

    rule: str
    verb: Literal["allow", "transform", "block", "abstain", "oblige"]
    reason: str


class ForecastOutcome(msgspec.Struct, frozen=True, gc=False):
    """When the answer was expected, in the mode that it came of, and when it was judged: both since it was asked for.

    The forecast is that of the plan, or of the escalation where the cloud was asked, by what the site had found then.
    For a cloud that was lost it is when the edge finished alone.
    """

    mode: Mode
    expected_ms: float
    took_ms: float


class Rewriting(msgspec.Struct, frozen=True, gc=False):
    """A follow-up in a conversation was answered as the standalone `question`; personal data in it are vault tokens."""

    by: RewrittenBy
    question: str


class InstructionsReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the instructions that came with a question, of which `digest` is what `digest_of` makes.

    `is_used`: they stood in the prompt of the model that wrote the answer. Where they did not, `reason` says why:
    `policy`, which lets answers of this class quote only; `site`: the site answered, where no model writes; `hub`: the
    hub answered, and wrote nothing of its own; `no_room` in the model's context; `no_answer` was given; `reply`: a text
    of the site's own.
    """

    digest: str
    is_used: bool = False
    reason: Literal["", "policy", "site", "hub", "no_room", "no_answer", "reply"] = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why this answer was given: where it was made, by what, from which spans, under which policy, in what time.

    `finished_by` is the side that ended the answer, where the other one began it or it is not the route's. `is_cut`:
    the side that began was lost before the end of its answer, and the rest is missing. `committed_chars` of the text
    were shown as final before the answer was whole; `retractions` is how often shown text was retracted (at most once).
    `guess` is what was shown as provisional, where anything was. `stale_citations` are so many of the citations that
    were of a collection which was not known to be current any more. `withdrawn_chars` of what was shown as final may
    not stand, and were taken back: clients that cannot do so were sent nothing more. `checks_not_run` are those of the
    site's verifier that were left out.
    """

    site: str
    route: Where
    plan: Plan | None
    lineage: tuple[Artefact, ...]
    citations: tuple[Citation, ...]
    decisions: tuple[Decision, ...]
    checks: tuple[Check, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    speculation: Speculation | None = None
    finished_by: Where | None = None
    is_cut: bool = False
    committed_chars: int = 0
    retractions: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0
    guess: Guess | None = None
    rewriting: Rewriting | None = None
    writing: WritingReport | None = None
    forecast: ForecastOutcome | None = None
    instructions: InstructionsReport | None = None
    stale_citations: int = 0
    withdrawn_chars: Annotated[int, msgspec.Meta(ge=0)] = 0
    checks_not_run: tuple[str, ...] = ()
