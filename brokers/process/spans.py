"""One OpenTelemetry span per delivery, exported to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names; without that
variable nothing is sent anywhere, nor without a permit. Next: telemetry.py, which records them; brokers/egress.py."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from tidegate.brokers.base import Delivery
from tidegate.brokers.egress import EgressGate
from tidegate.brokers.process import trace
from tidegate.brokers.stage import Stage
from tidegate.schemas.subjects import rid_of

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
"""Where it is set, spans go there instead."""
TIMEOUT = "OTEL_EXPORTER_OTLP_TIMEOUT"
DEFAULT_TIMEOUT_S = "2"
"""Shorter than OpenTelemetry's own 10 s: the end of a process waits as long for a collector that is away."""


@contextmanager
def open_tracer(site: str, gate: EgressGate) -> Iterator[Tracer | None]:
    """A tracer that exports over OTLP/HTTP, sends what is left on leaving; None where no collector is named.

    All other `OTEL_` variables of the specification count too. A collector that cannot be reached holds no delivery up.
    Raises `EgressDeniedError` for one that is not of this machine and for which there is no permit.
    """
    if not os.environ.get(ENDPOINT):
        yield None
        return
    gate.check(os.environ.get(TRACES_ENDPOINT) or os.environ[ENDPOINT], "telemetry", "metadata")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        structlog.get_logger().warning("spans_not_exported", variable=ENDPOINT, hint="pip install 'tidegate[otel]'")
        yield None
        return
    provider = TracerProvider(
        resource=Resource.create({"service.name": "tidegate", "tidegate.site": site}), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(timeout=float(os.environ.get(TIMEOUT, DEFAULT_TIMEOUT_S)))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield provider.get_tracer("tidegate")
    finally:
        provider.shutdown()


def record_span(
    tracer: Tracer, stage: Stage, delivery: Delivery, outcome: str, worked_s: float, error: BaseException | None
) -> None:
    """The span of a delivery that has just come to its outcome; it names the error's type and quotes nobody."""
    ended_ns = time.time_ns()
    span = tracer.start_span(
        stage.name,
        trace.context_of(delivery.headers),
        SpanKind.CONSUMER,
        {"tidegate.rid": rid_of(delivery.subject), "tidegate.outcome": outcome, "tidegate.attempt": delivery.attempt},
        start_time=ended_ns - int(worked_s * 1e9),
    )
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
    span.end(ended_ns)
