"""The telemetry of a process: JSON log lines, metrics and spans per stage, never what was asked or answered.

Next: spans.py, trace.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import structlog
from opentelemetry.trace import Tracer
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from tidegate.brokers.base import Delivery
from tidegate.brokers.dead_letters import line_of
from tidegate.brokers.egress import EgressGate
from tidegate.brokers.process import trace
from tidegate.brokers.process.metrics_server import serve_metrics
from tidegate.brokers.process.spans import open_tracer, record_span
from tidegate.brokers.settings import ProcessSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.worker import WorkerObserver
from tidegate.schemas import RejectError, RetryLaterError
from tidegate.schemas.readable import readable_json
from tidegate.schemas.subjects import rid_of

HANDLE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
AGE_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)
PRIVATE_KEYS = frozenset({"answer", "body", "data", "message", "payload", "question", "quote", "text"})
"""Keys under which somebody might log what a person wrote; their values never reach a line."""
LEVEL_OF_OUTCOME = {"dead_lettered": "error", "retried": "warning"}

_encoder = msgspec.json.Encoder()


def withhold(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep people's words out of a line: by key, and by type (bytes and structs may hold anything), at any depth."""
    return {key: "[withheld]" if key in PRIVATE_KEYS else _mask(value) for key, value in line.items()}


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return withhold(None, "", value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_mask(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else f"[{type(value).__name__}]"


def describe_error(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn `exc_info` into the error's type and line; its message may quote what was asked, so it is left out.

    `RejectError` and `RetryLaterError` are raised on purpose, with a reason that is ours.
    """
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        line["error"] = type(error).__name__
        if isinstance(error, (RejectError, RetryLaterError)):
            line["reason"] = error.reason
        if error.__traceback__ is not None:
            line["where"] = line_of(error)
    return line


def metrics_of(registry: CollectorRegistry) -> tuple[Counter, Histogram, Gauge, Histogram]:
    """The four metrics of every stage: outcomes, seconds of work, deliveries in flight, age at the start."""
    return (
        Counter("tidegate_deliveries", "Deliveries, by outcome.", ["stage", "outcome"], registry=registry),
        Histogram(
            "tidegate_handle_seconds",
            "How long a stage worked on a delivery.",
            ["stage"],
            buckets=HANDLE_BUCKETS_S,
            registry=registry,
        ),
        Gauge("tidegate_in_flight", "Deliveries that a stage works on.", ["stage"], registry=registry),
        Histogram(
            "tidegate_age_seconds",
            "How long a message had been stored when a stage took it up.",
            ["stage"],
            buckets=AGE_BUCKETS_S,
            registry=registry,
        ),
    )


class ProcessMetrics(Collector):
    """The `tidegate_` metrics that modules of this process keep in the global registry."""

    def collect(self) -> list[Metric]:
        return [metric for metric in REGISTRY.collect() if metric.name.startswith("tidegate_")]

    def describe(self) -> list[Metric]:
        return []


class Telemetry(WorkerObserver):
    """The worker's observer: one log line per outcome that is not a plain success, four metrics per stage, and a span
    per delivery where there is a `tracer`.

    It registers nothing globally: everything goes to `registry` and `output`.
    """

    def __init__(
        self,
        site: str,
        *,
        registry: CollectorRegistry | None = None,
        output: BinaryIO | None = None,
        level: str = "info",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.site = site
        self.registry = registry or CollectorRegistry()
        if self.registry is not REGISTRY:
            self.registry.register(ProcessMetrics())
        self._clock = clock
        self._sink = structlog.BytesLogger(output or sys.stderr.buffer)
        self._options: dict[str, Any] = {
            "processors": self._processors(),
            "wrapper_class": structlog.make_filtering_bound_logger(level),
        }
        self.log = structlog.wrap_logger(self._sink, **self._options, cache_logger_on_first_use=True)
        self.tracer: Tracer | None = None
        self.metrics_port = 0
        """Where the metrics are served; 0: nowhere."""
        self._deliveries, self._handle_s, self._in_flight, self._age_s = metrics_of(self.registry)
        self._bound: dict[tuple[str, ...], Any] = {}

    def on_start(self, stage: Stage, delivery: Delivery) -> None:
        """A delivery is begun: lines logged from this task on carry its stage, rid, id, attempt and trace."""
        structlog.contextvars.bind_contextvars(
            stage=stage.name,
            rid=rid_of(delivery.subject),
            id=delivery.id,
            attempt=delivery.attempt,
            trace=trace.trace_id_of(delivery.headers),
        )
        self._of(self._in_flight, stage.name).inc()
        self._of(self._age_s, stage.name).observe(max(0.0, self._clock() - delivery.stored_at_s))

    def on_outcome(
        self, stage: Stage, delivery: Delivery, outcome: str, worked_s: float, error: BaseException | None = None
    ) -> None:
        """A delivery came to its outcome, in the task that started it. Each dead letter is one line at level error."""
        self._of(self._in_flight, stage.name).dec()
        self._of(self._handle_s, stage.name).observe(worked_s)
        self._of(self._deliveries, stage.name, outcome).inc()
        if self.tracer is not None:
            record_span(self.tracer, stage, delivery, outcome, worked_s, error)
        log = getattr(self.log, LEVEL_OF_OUTCOME.get(outcome, "debug"))
        log(outcome, worked_ms=round(worked_s * 1000, 3), exc_info=error)

    def metrics(self) -> bytes:
        """The metrics as Prometheus' text; call it from a thread, a large scrape takes tens of ms."""
        return bytes(generate_latest(self.registry))

    def adopt_loggers(self) -> None:
        """Make `structlog.get_logger()` of this process write the same lines to the same output."""
        structlog.configure(**self._options, logger_factory=lambda *_: self._sink)

    def _of(self, metric: Any, *labels: str) -> Any:
        """Labels bound once: looking them up each time costs more than the observation."""
        key = (metric._name, *labels)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = metric.labels(*labels)
        return bound

    def _processors(self) -> list[Any]:
        return [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            self._add_site,
            structlog.processors.EventRenamer("action"),
            describe_error,
            withhold,
            structlog.processors.JSONRenderer(serializer=lambda line, **_: readable_json(_encoder.encode(line))),
        ]

    def _add_site(self, _: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("site", self.site)
        return line


@contextmanager
def open_telemetry(settings: ProcessSettings, *, log_file: Path | None = None) -> Iterator[Telemetry]:
    """Telemetry of one process: lines to stderr or `log_file`, metrics over HTTP where `settings.metrics_port` is set.

    Where another process has that port, the system chooses one; `Telemetry.metrics_port` is the one in use.
    Raises `MetricsAddressError`, `MetricsExposedError`.
    """
    output = log_file.open("ab") if log_file is not None else None
    telemetry = Telemetry(settings.site, output=output, level=settings.log_level)
    ProcessCollector(registry=telemetry.registry)
    telemetry.adopt_loggers()
    with ExitStack() as stack:
        if output is not None:
            stack.enter_context(output)
        stack.callback(structlog.reset_defaults)
        telemetry.tracer = stack.enter_context(open_tracer(settings.site, EgressGate.of(settings.egress)))
        if settings.metrics_port:
            telemetry.metrics_port = stack.enter_context(serve_metrics(settings, telemetry.registry))
        yield telemetry
