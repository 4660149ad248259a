"""What the router decided, what was given up for the deadline or the link, and what drafting cost.

Next: services/planning, which makes a plan; schemas/answer.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Share

Where = Literal["edge", "cloud"]
Mode = Literal["edge_only", "cloud_stream", "cloud_with_shipped_draft", "race", "remote_speculation"]
"""Who generates, and when; see `Plan`."""
DegradationLevel = Literal[
    "full", "fewer_passages", "no_rerank", "no_race", "no_remote_speculation", "edge_only", "evidence_only", "abstain"
]
"""What is given up for the deadline or the link, in the order in which it is given up."""
Writing = Literal["quote", "grounded", "free"]
"""How an answer is written: the documents' words; a model's own, each sentence held against what it cites; or a model's
own words unchecked.
"""
Guess = Literal["draft", "cached_answer"]
"""What the edge shows until the cloud answers: its own draft, or the cloud's earlier answer to the same question."""


class ForecastBasis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a plan's forecasts were made of, so that what happened can be held against them and learned from.

    `class_name` is the question's intent or workload, `model` the hub's at the time (empty: it names none), `spent_ms`
    what had passed before the plan. Of a forecast for the cloud `rtt_ms` is the link's part; the rest is a closed form
    times the one of `cloud_factors` for the evidence that the site found: the first while that is not known, the others
    for bands of its confidence, of which `evidence` is the one that it escalated with (0: none). Of the edge it is the
    closed form times `edge_factor`. Both are learned, from `edge_seen` and `cloud_seen` answers of the class (0: from
    wider classes, or not at all).
    """

    class_name: str
    model: str = ""
    spent_ms: float = 0.0
    rtt_ms: float = 0.0
    edge_factor: float = 1.0
    edge_seen: int = 0
    cloud_factors: Annotated[tuple[float, ...], msgspec.Meta(min_length=1)] = (1.0,)
    cloud_seen: int = 0
    evidence: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def cloud_factor(self) -> float:
        """What the closed forms of the cloud were multiplied by."""
        return self.cloud_factors[self.evidence] if self.evidence < len(self.cloud_factors) else self.cloud_factors[0]


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the router decided, and why. `shares_ms` sums to the request's budget.

    `mode`. `edge_only`: the cloud is not asked. `cloud_stream`: the cloud generates alone. `cloud_with_shipped_draft`:
    as before, with the edge's draft shipped once beside the question. `race`: as before, and the edge's draft is shown
    at once as provisional, where its confidence is at least `show_from`. A cached answer of the cloud to the same
    question replaces the draft in both, and is shown in both. `remote_speculation`: the edge drafts, the cloud verifies
    in rounds of `draft_length` tokens; slower than the stream, cheaper for the cloud.
    `drafters` are asked in this order for each token; `k` is how many passages are retrieved. `break_even_rtt_ms` is
    the round trip below which remote speculation would beat the stream (0: never); `forecast_ms` is the expected time
    from the plan to the judged answer for each mode that was considered (`edge_only`: where the edge vouches for its
    own), and `basis` what that was made of. `writing` is what the policies allow for the question's class.
    """

    where: Where
    may_escalate: bool
    k: int
    model: str
    shares_ms: dict[str, float]
    config_version: str
    reason: str
    mode: Mode = "edge_only"
    drafters: tuple[str, ...] = ()
    draft_length: Annotated[int, msgspec.Meta(ge=0)] = 0
    show_from: Share = 1.0
    break_even_rtt_ms: float = 0.0
    forecast_ms: dict[str, float] = {}
    basis: ForecastBasis | None = None
    writing: Writing = "quote"


class Degradation(msgspec.Struct, frozen=True, gc=False):
    """What a stage gave up because it had only `left_ms`; the level above would have taken `needed_ms`."""

    stage: str
    level: DegradationLevel
    left_ms: float
    needed_ms: float
    reason: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer's token ids as one side expects them, for the other to verify: never trusted.

    `tokenizer` is the digest of the tokenizer that made the ids: to any other they mean nothing, and it makes ids of
    its own out of `text`. `drafter` names what made them.
    """

    ids: Annotated[tuple[int, ...], msgspec.Meta(max_length=512)]
    tokenizer: str
    drafter: str = ""
    text: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class Speculation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What drafting cost and saved in one answer. `steps` are forward passes of the target, prefill included.

    `drafted` tokens were proposed to the target, `accepted` of them were accepted, the rest were wasted work;
    `draft_bytes` is the size of the draft on the wire; `retokenised`: another tokenizer had made it, and the target's
    own made ids of its text. Of the `tokens` so many are `forced` by a schema or the rule of quoting: they take no
    step, and are neither drafted nor accepted. Without those and without drafts `steps` equals `tokens`. `model` is the
    target; with no step it was not called, and a draft was shipped in vain.
    """

    steps: int
    tokens: int
    drafted: int = 0
    accepted: int = 0
    draft_bytes: int = 0
    retokenised: bool = False
    forced: int = 0
    model: str = ""

    @property
    def chosen(self) -> int:
        """Tokens that the target chose itself: the steps that it takes without drafts."""
        return self.tokens - self.forced

    @property
    def saved(self) -> int:
        """Steps that drafts saved."""
        return max(0, self.chosen - self.steps)

    @property
    def wasted(self) -> int:
        """Drafted tokens that were not accepted."""
        return self.drafted - self.accepted
