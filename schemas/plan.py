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


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the router decided, and why. `shares_ms` sums to the request's budget.

    `mode`. `edge_only`: the cloud is not asked. `cloud_stream`: the cloud generates alone. `cloud_with_shipped_draft`:
    as before, with the edge's draft shipped once beside the question. `race`: as before, and the edge's draft is shown
    at once as provisional, where its confidence is at least `show_from`. A cached answer of the cloud to the same
    question replaces the draft in both, and is shown in both. `remote_speculation`: the edge drafts, the cloud verifies
    in rounds of `draft_length` tokens; slower than the stream, cheaper for the cloud.
    `drafters` are asked in this order for each token; `k` is how many passages are retrieved. `break_even_rtt_ms` is
    the round trip below which remote speculation would beat the stream (0: never); `forecast_ms` is the expected time
    to the final token for each mode that was considered. `writing` is what the policies allow for the question's class.
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
    own made ids of its text. Tokens that a schema or the rule of quoting forces take no step, and are neither drafted
    nor accepted. Without those and without drafts `steps` equals `tokens`.
    """

    steps: int
    tokens: int
    drafted: int = 0
    accepted: int = 0
    draft_bytes: int = 0
    retokenised: bool = False

    @property
    def wasted(self) -> int:
        """Drafted tokens that were not accepted."""
        return self.drafted - self.accepted
