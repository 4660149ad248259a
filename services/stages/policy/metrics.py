"""What judging costs whoever watches an answer in the making: how much is held back of it, and for how long.

Next: policy/__init__.py, which judges; holding.py, what is held of a text that passes."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from tidegate.schemas import Partial

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
TOKENS = (0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5, 128.5, 512.5)


class HoldBackMetrics:
    """By the side that writes: edge or cloud."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        judging = "How long an answer in the making waited to be judged, from its arrival at the policy stage."
        self._seconds = Histogram(
            "tidegate_partial_judging_seconds", judging, ["source"], buckets=SECONDS, registry=registry
        )
        held = (
            "Tokens of an answer in the making that were written and not passed on (words, where tokens are not known)."
        )
        self._held = Histogram("tidegate_partial_held_tokens", held, ["source"], buckets=TOKENS, registry=registry)
        stopped = "Answers in the making of which nothing was passed on, at one of their sentences."
        self._stopped = Counter("tidegate_partial_stopped", stopped, ["source"], registry=registry)

    def observe(self, written: Partial, passed: Partial | None, seconds: float) -> None:
        """Count one partial answer, and what was passed on of it; None: nothing."""
        self._seconds.labels(written.source).observe(seconds)
        self._held.labels(written.source).observe(count_held(written, passed))
        self._stopped.labels(written.source).inc(passed is None)


def count_held(written: Partial, passed: Partial | None) -> int:
    """The tokens behind the end of what was passed on. A text that was changed counts by its length."""
    text = written.answer.text
    shown = 0 if passed is None else min(len(text), len(passed.answer.text))
    if not written.ids:
        return len(text[shown:].split())
    return -(-len(written.ids) * (len(text) - shown) // max(1, len(text)))
