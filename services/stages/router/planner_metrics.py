"""What a site's planner has learned, as metrics of its process: by tenant, model, way of writing and class.

As many series as the planner remembers classes, no more. Next: services/planning/experience.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.experience import Experience

CLASS = ("tenant", "model", "writing", "class")
PREFIX = "tidegate_planner_"


class PlannerMetrics(Collector):
    """The ledgers and forecasts of every router that is open in this process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._open: dict[int, Experience] = {}
        registry.register(self)

    @contextmanager
    def showing(self, experience: Experience) -> Iterator[None]:
        """Show what it knows, until left."""
        self._open[id(experience)] = experience
        try:
            yield
        finally:
            del self._open[id(experience)]

    def collect(self) -> Iterator[Metric]:
        shown = [*self._open.values()]
        yield from _ledger_metrics(shown)
        yield from _forecast_metrics(shown)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks nobody."""
        return []


def _ledger_metrics(shown: list[Experience]) -> Iterator[Metric]:
    answers = _counter("answers", "Answers of the hub to which a model or a shipped draft had a part.")
    shipped = _counter("drafts_shipped", "Drafts that were shipped to the hub.")
    uncalled = _counter("drafts_uncalled", "Shipped drafts to which the hub called no model.")
    tokens = _counter("draft_tokens", "Tokens that were proposed to the model, by what became of them.", "result")
    saved = _counter("steps_saved", "Passes of the model that drafts saved.")
    sent = _counter("draft_bytes", "Bytes of shipped drafts as they travel.")
    for line in (line for each in shown for line in each.ledger.lines if line.answers.name):
        labels = _labels(line.answers)
        for metric, value in ((answers, line.count), (shipped, line.shipped), (uncalled, line.uncalled)):
            metric.add_metric(labels, value)
        tokens.add_metric([*labels, "accepted"], line.accepted)
        tokens.add_metric([*labels, "wasted"], line.wasted)
        saved.add_metric(labels, line.saved)
        sent.add_metric(labels, line.draft_bytes)
    return iter((answers, shipped, uncalled, tokens, saved, sent))


def _forecast_metrics(shown: list[Experience]) -> Iterator[Metric]:
    held = "Forecasts, by whether they were within a factor of two of what happened."
    judged = CounterMetricFamily(f"{PREFIX}forecasts", held, labels=("where", *CLASS, "within"))
    learned = "What the closed form of a class is multiplied by; where the cloud answers, by band of evidence."
    factor = GaugeMetricFamily(f"{PREFIX}forecast_factor", learned, labels=("where", *CLASS, "evidence"))
    good = Counter[tuple[str, ...]]()
    for each in shown:
        for line in each.times.lines:
            if not line.answers.name:
                continue
            values = [line.answers.where, *_labels(line.answers)]
            factor.add_metric([*values, str(line.answers.evidence)], each.times.correction(line.answers).factor)
            good[*values, "yes"] += line.good
            good[*values, "no"] += line.judged - line.good
    for labels, count in good.items():
        judged.add_metric(labels, count)
    return iter((judged, factor))


def _counter(name: str, help_: str, *more: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}{name}", help_, labels=(*CLASS, *more))


def _labels(answers: AnswerClass) -> list[str]:
    return [answers.tenant, answers.model, answers.writing, answers.name]
