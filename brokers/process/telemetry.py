"""What the house says of itself: JSON log lines and metrics per stage, never a word of what was asked or answered."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import structlog
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from tidegate.brokers.process import trace
from tidegate.brokers.settings import ProcessSettings
from tidegate.schemas import RejectError, RetryLaterError
from tidegate.schemas.subjects import rid_of

if TYPE_CHECKING:
    from tidegate.brokers.base import Delivery
    from tidegate.brokers.stage import Stage

METRICS_TYPE: str = CONTENT_TYPE_LATEST
HANDLE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
AGE_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
WORDS = frozenset({"answer", "body", "data", "message", "payload", "question", "quote", "text"})
"""Keys under which somebody might log what a person wrote; their values never reach a line."""
LEVEL_OF_VERDICT = {"buried": "error", "retried": "warning"}

_encoder = msgspec.json.Encoder()


def withhold(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep people's words out of a line: by key, and by type (bytes and structs may hold anything), at any depth."""
    return {key: "[withheld]" if key in WORDS else _veiled(value) for key, value in line.items()}


def _veiled(value: Any) -> Any:
    if isinstance(value, dict):
        return withhold(None, "", value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_veiled(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else f"[{type(value).__name__}]"


def tell_error(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Turn `exc_info` into the error's type and place; its message may quote what was asked, so it is left out.

    `RejectError` and `RetryLaterError` are raised on purpose, with a reason that is ours.
    """
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        line["error"] = type(error).__name__
        if isinstance(error, (RejectError, RetryLaterError)):
            line["reason"] = error.reason
        frame = error.__traceback__
        while frame is not None:
            line["where"] = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
            frame = frame.tb_next
    return line


def metrics_of(registry: CollectorRegistry) -> tuple[Counter, Histogram, Gauge, Histogram]:
    """The four metrics of every stage: ends by verdict, seconds of work, deliveries in hand, age when taken up."""
    return (
        Counter("tidegate_deliveries", "Deliveries that came to an end.", ["stage", "verdict"], registry=registry),
        Histogram(
            "tidegate_handle_seconds",
            "How long a stage worked on a delivery.",
            ["stage"],
            buckets=HANDLE_BUCKETS_S,
            registry=registry,
        ),
        Gauge("tidegate_in_flight", "Deliveries in the hands of a stage.", ["stage"], registry=registry),
        Histogram(
            "tidegate_age_seconds",
            "How long a message had been stored when a stage took it up.",
            ["stage"],
            buckets=AGE_BUCKETS_S,
            registry=registry,
        ),
    )


class Rooms(Collector):
    """What the rooms of this process count for themselves, in the registry that they all know."""

    def collect(self) -> list[Metric]:
        return [metric for metric in REGISTRY.collect() if metric.name.startswith("tidegate_")]

    def describe(self) -> list[Metric]:
        return []


class Telemetry:
    """The worker's watch: one log line per end that is not a plain success, four metrics per stage.

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
            self.registry.register(Rooms())
        self.level = level
        self._clock = clock
        self._sink = structlog.BytesLogger(output or sys.stderr.buffer)
        self.log = structlog.wrap_logger(
            self._sink,
            processors=self._processors(),
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            cache_logger_on_first_use=True,
        )
        self._deliveries, self._handle_s, self._in_flight, self._age_s = metrics_of(self.registry)
        self._bound: dict[tuple[str, ...], Any] = {}

    def started(self, stage: Stage, delivery: Delivery) -> None:
        """A delivery is in hand: lines logged from this task on carry its stage, rid, id, attempt and trace."""
        structlog.contextvars.bind_contextvars(**_identity(stage, delivery))
        self._of(self._in_flight, stage.name).inc()
        self._of(self._age_s, stage.name).observe(max(0.0, self._clock() - delivery.stored_at_s))

    def ended(
        self, stage: Stage, delivery: Delivery, verdict: str, worked_s: float, error: BaseException | None = None
    ) -> None:
        """A delivery came to its one end. Each one buried is one line at level error."""
        self._of(self._in_flight, stage.name).dec()
        self._of(self._handle_s, stage.name).observe(worked_s)
        self._of(self._deliveries, stage.name, verdict).inc()
        level = LEVEL_OF_VERDICT.get(verdict, "debug")
        speak = getattr(self.log, level)
        speak(verdict, **_identity(stage, delivery), worked_ms=round(worked_s * 1000, 3), exc_info=error)

    def metrics(self) -> bytes:
        """The metrics as text of type `METRICS_TYPE`; call it from a thread, a large scrape takes tens of ms."""
        return bytes(generate_latest(self.registry))

    def adopt_loggers(self) -> None:
        """Make `structlog.get_logger()` of this process write the same lines to the same place."""
        structlog.configure(
            processors=self._processors(),
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[self.level]),
            logger_factory=lambda *_: self._sink,
        )

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
            tell_error,
            withhold,
            structlog.processors.JSONRenderer(serializer=lambda line, **_: _encoder.encode(line)),
        ]

    def _add_site(self, _: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("site", self.site)
        return line


@contextmanager
def opened(settings: ProcessSettings, *, log_file: Path | None = None) -> Iterator[Telemetry]:
    """Telemetry of one process: lines to stderr or `log_file`; metrics over HTTP where `settings.metrics_port` says so.

    Raises `OSError` when the port is taken.
    """
    output = log_file.open("ab") if log_file is not None else None
    telemetry = Telemetry(settings.site, output=output, level=settings.log_level)
    ProcessCollector(registry=telemetry.registry)
    telemetry.adopt_loggers()
    server = thread = None
    try:
        if settings.metrics_port:
            server, thread = start_http_server(settings.metrics_port, settings.metrics_host, telemetry.registry)
        yield telemetry
    finally:
        if server is not None and thread is not None:
            server.shutdown()
            server.server_close()
            thread.join()
        structlog.reset_defaults()
        if output is not None:
            output.close()


def _identity(stage: Stage, delivery: Delivery) -> dict[str, Any]:
    hop = trace.read(delivery.headers.get(trace.HEADER))
    return {
        "stage": stage.name,
        "rid": rid_of(delivery.subject),
        "id": delivery.id,
        "attempt": delivery.attempt,
        "trace": hop.trace_id if hop else "",
    }
