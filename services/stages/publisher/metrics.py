"""What the publisher shows of itself: answers that were served out of what was not known to be current."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from tidegate.schemas import Published


class FreshnessMetrics:
    """Counts the answers that cite something stale, and what they cite so, by collection."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        served = "Answers with a citation of a collection that was not known to be current."
        self._answers = Counter("tidegate_answers_stale", served, ["tenant"], registry=registry)
        cited = "Citations of a collection that was not known to be current."
        self._citations = Counter("tidegate_citations_stale", cited, ["tenant", "collection"], registry=registry)

    def count(self, published: Published) -> None:
        """Count one published answer."""
        self._answers.labels(published.tenant).inc(published.receipt.stale_citations > 0)
        for citation in published.citations:
            if not citation.is_fresh:
                self._citations.labels(published.tenant, citation.collection).inc()
