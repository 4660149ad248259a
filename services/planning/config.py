"""What a plan depends on: the planner's parameters, and a snapshot of link, load and cloud."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from tidegate.schemas import Mode
from tidegate.schemas.uplink import CloudState
from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.draft_ledger import DraftRecord
from tidegate.services.planning.learned_times import Correction

Weights = Mapping[str, int]
UNKNOWN = CloudState()


@dataclass(frozen=True)
class Signals:
    """A snapshot of what the plan depends on. `load` is the machine's load average per core."""

    link_up: bool
    rtt_ms: float
    queue_depth: int
    load: float
    rtt_var_ms: float = 0.0
    """How far round trips stray from `rtt_ms`: RTTVAR of RFC 6298."""
    cloud: CloudState = UNKNOWN
    acceptance: Mapping[str, float] = field(default_factory=dict)
    """What was learned of each class (see `class_of`); a class that is not here was never seen."""
    corrections: Mapping[AnswerClass, Correction] = field(default_factory=dict)
    """By how much the closed forms were wrong, by class of answer."""
    records: Mapping[AnswerClass, DraftRecord] = field(default_factory=dict)
    """What drafts cost and saved, by class of answer."""

    @property
    def careful_rtt_ms(self) -> float:
        """The round trip that is seldom exceeded: SRTT + 4 · RTTVAR (RFC 6298, section 2)."""
        return self.rtt_ms + 4 * self.rtt_var_ms


@dataclass(frozen=True)
class PlannerConfig:
    """The planner's parameters; two routers with the same ones make the same plans from the same signals."""

    k: int = 8
    k_under_load: int = 4
    k_too_late: int = 1
    queue_depth_high: int = 64
    overload_factor: int = 4
    """Times `queue_depth_high` at which the edge cannot clear its queue in time, and the cloud answers instead."""
    load_high: float = 8.0
    short_budget_ms: int = 1000
    edge_floor_ms: int = 150
    cloud_floor_ms: int = 250
    models: Mapping[str, str] = field(
        default_factory=lambda: {"classify": "intent-head", "extract": "extractor", "assist": "reader"}
    )
    weights: Mapping[str, Weights] = field(
        default_factory=lambda: {
            "direct": {"retriever": 5, "drafter": 75, "policy": 10, "publisher": 10},
            "edge": {"retriever": 30, "drafter": 55, "policy": 8, "publisher": 7},
            "escalating": {"retriever": 10, "drafter": 20, "cloud-verifier": 60, "policy": 5, "publisher": 5},
        }
    )
    drafters: Mapping[str, float] = field(default_factory=lambda: {"lookup": 0.1, "lm": 5.0})
    """Who drafts an answer in words, in the order of asking, with the milliseconds that each takes for a token."""
    answer_tokens: int = 64
    sentence_tokens: int = 16
    """How long an answer is expected to be, and how much of it is there before anything is shown."""
    prefill_ms: float = 40.0
    edge_start_ms: float = 20.0
    edge_answer_ms: float = 60.0
    """What the site's own part of an answer is taken to cost, reading included, while nothing was learned of it."""
    step_ms: float = 20.0
    """What a step of the cloud is taken to cost while it has not reported it."""
    knee_positions: int = 256
    """Positions per forward pass of the cloud up to which drafted ones are almost free."""
    acceptance_prior: float = 0.6
    race_from: float = 0.7
    """Acceptance under which no draft is shown before the cloud's text, once the class was seen."""
    retraction_ms: float = 100.0
    """What showing a wrong draft costs the asker, in milliseconds of waiting for a right one."""
    worth_ms: float = 5.0
    """What a shipped draft must save to be worth making."""
    economy: float = 0.0
    """What a millisecond of the cloud's computing is worth in milliseconds of the asker's waiting. 0: nothing, and then
    no plan puts the link into the token loop."""

    mode: Mode | None = None
    """The mode of every plan that may escalate, where it is not to be chosen: for measuring one against another.
    With `cloud_stream` every question that may goes to the cloud, as if there were no edge."""
    uplink_ms_per_byte: float = 0.0
    """What a byte on its way up costs; 8 / (kbit/s) on a thin link."""

    @cached_property
    def version(self) -> str:
        """The first 12 hex digits of the sha256 of the canonical JSON."""
        ordered = [*self.drafters]  # the order of asking is a rule too, and canonical JSON loses it
        canonical = json.dumps([asdict(self), ordered], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def class_of(tenant: str, model: str, drafters: tuple[str, ...]) -> str:
    """What acceptance is learned by: tenant (no tenant's answers may tell of another's), model and drafters."""
    return f"{tenant}/{model}/{'+'.join(drafters)}"
