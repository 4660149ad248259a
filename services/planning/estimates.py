"""Estimates from measurements that come one by one: the round trip, and how many drafted tokens are accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cachetools import LRUCache

from tidegate.schemas import Published
from tidegate.services.planning.config import class_of
from tidegate.services.planning.speculation_cost import acceptance_of


@dataclass(frozen=True)
class RoundTrip:
    """The smoothed round trip and its variation, in milliseconds (RFC 6298, section 2)."""

    smoothed_ms: float = 0.0
    variation_ms: float = 0.0

    def after(self, fresh_ms: float) -> RoundTrip:
        """With one more measurement; the variation is updated first, from the round trip known before."""
        if not self.smoothed_ms:
            return RoundTrip(fresh_ms, fresh_ms / 2)
        variation_ms = self.variation_ms + (abs(self.smoothed_ms - fresh_ms) - self.variation_ms) / 4
        return RoundTrip(self.smoothed_ms + (fresh_ms - self.smoothed_ms) / 8, variation_ms)


@dataclass(frozen=True)
class _Estimate:
    """What is known of one class, and when it was learned."""

    acceptance: float
    at_s: float


class Acceptances:
    """The acceptance of drafts by class: a moving average, for at most `classes` of them, the longest unseen go first.

    What was learned is forgotten after `memory_s` without anything new, so that a class that was given up is tried
    again. `site` and `tenants` are whose answers count.
    """

    def __init__(
        self, site: str, tenants: tuple[str, ...], *, classes: int = 256, newest: float = 0.2, memory_s: float = 600.0
    ) -> None:
        self._site = site
        self._tenants = frozenset(tenants)
        self._newest = newest
        self._memory_s = memory_s
        self._seen: LRUCache[str, _Estimate] = LRUCache(classes)

    def learn(self, published: Published, now_s: float) -> bool:
        """Learn from one answer; False where it tells nothing: it is not ours, or no draft had a part in it."""
        speculation, plan = published.receipt.speculation, published.receipt.plan
        is_ours = published.site == self._site and published.tenant in self._tenants
        if not is_ours or speculation is None or plan is None or not plan.drafters:
            return False
        if plan.draft_length < 1 or not 0 <= speculation.accepted <= speculation.drafted or speculation.drafted == 0:
            return False
        name = class_of(published.tenant, plan.model, plan.drafters)
        fresh = acceptance_of(speculation.drafted, speculation.accepted, plan.draft_length)
        known = self._seen.get(name)
        if known is not None and now_s - known.at_s < self._memory_s:
            fresh = known.acceptance + self._newest * (fresh - known.acceptance)
        self._seen[name] = _Estimate(fresh, now_s)
        return True

    def known(self, now_s: float) -> Mapping[str, float]:
        """The acceptance of each class that is remembered."""
        return {name: seen.acceptance for name, seen in self._seen.items() if now_s - seen.at_s < self._memory_s}
