"""What drafting costs and saves, and what the hub's workers share, counted for whoever watches the hub."""

from __future__ import annotations

from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from tidegate.schemas import Speculation
from tidegate.services.uplink.claims import ClaimOutcome


class TargetMetrics:
    """Counts every answer of a target. Bytes per accepted token is the ratio of two of the counters; so are steps per
    answer and the share of drafted tokens that was wasted.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        counter = partial(Counter, registry=registry)
        self._answers = counter("tidegate_target_answers", "Answers that the target model gave.")
        stopped = "Answers of the target model that were stopped because they could no longer stand."
        self._diverged = counter("tidegate_target_diverged", stopped)
        self._steps = counter("tidegate_target_steps", "Forward passes of the target model.")
        self._tokens = counter("tidegate_target_tokens", "Tokens that the target model generated.")
        proposed = "Tokens that were proposed to the target model, by what became of them."
        self._drafted = counter("tidegate_draft_tokens", proposed, ["result"])
        self._bytes = counter("tidegate_draft_bytes", "Bytes of shipped drafts as they travel.")
        foreign = "Drafts that another tokenizer had made, of whose text the target's own made ids."
        self._retokenised = counter("tidegate_drafts_retokenised", foreign)

    def count(self, speculation: Speculation, has_diverged: bool = False) -> None:
        """Count one answer, whole or stopped for having diverged."""
        self._answers.inc()
        self._diverged.inc(has_diverged)
        self._steps.inc(speculation.steps)
        self._tokens.inc(speculation.tokens)
        self._drafted.labels("accepted").inc(speculation.accepted)
        self._drafted.labels("wasted").inc(speculation.wasted)
        self._bytes.inc(speculation.draft_bytes)
        self._retokenised.inc(speculation.retokenised)


class ClaimMetrics:
    """Counts what became of each escalation at this worker: `worked`, `taken_over` and `unclaimed` are those that it
    answered itself."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        what = "Escalations at this worker of the hub, by who answered them."
        self._claims = Counter("tidegate_escalation_claims", what, ["outcome"], registry=registry)

    def count(self, outcome: ClaimOutcome) -> None:
        """Count one."""
        self._claims.labels(outcome).inc()
